#include "eval/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "eval/testing.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const TinyModel& tiny() {
  static const TinyModel model("tiny-llama-hd64.gguf");
  return model;
}
const Tokenizer& tokenizer() { return tiny().tokenizer; }
std::string chat_template() { return tiny().checkpoint->vocabulary().chat_template; }

Sample some_sample() {
  Sample sample;
  sample.key = "k";
  sample.request = Generate{8};
  sample.prompt = "A long story of a small town that had a tower and two wells. What had it?";
  sample.gold = "a tower";
  return sample;
}

std::string text_of(const Prompt& prompt) { return tokenizer().decode(prompt.tokens, true); }

TEST(Prompt, IsTheUsersTurnAndTheAnswersBeginning) {
  Sample sample = some_sample();
  sample.answer_prefix = "It had";
  ASSERT_FALSE(chat_template().empty());
  const std::string chat = text_of(make_prompt(sample, tokenizer(), chat_template(), 500));
  EXPECT_THAT(chat, HasSubstr(sample.prompt));
  EXPECT_TRUE(chat.ends_with("It had"));
  EXPECT_GT(chat.size(), sample.prompt.size() + 10);
  sample.chat = false;
  const std::string bare = text_of(make_prompt(sample, tokenizer(), chat_template(), 500));
  EXPECT_TRUE(bare.ends_with(sample.prompt + "It had")) << bare;
  EXPECT_LT(bare.size(), chat.size());
}

TEST(Prompt, LosesItsMiddleAndNoMoreThanItMust) {
  Sample sample = some_sample();
  const auto whole = make_prompt(sample, tokenizer(), chat_template(), 500);
  const int longest = static_cast<int>(whole.tokens.size()) - 10;
  EXPECT_THAT(message_of([&] { make_prompt(sample, tokenizer(), chat_template(), longest); }), HasSubstr("at most"));
  sample.may_shorten = true;
  const Prompt cut = make_prompt(sample, tokenizer(), chat_template(), longest);
  EXPECT_TRUE(cut.shortened);
  EXPECT_FALSE(whole.shortened);
  EXPECT_LE(static_cast<int>(cut.tokens.size()) + cut.most_answer, longest);
  EXPECT_GE(static_cast<int>(cut.tokens.size()) + cut.most_answer, longest - 2);
  EXPECT_THAT(text_of(cut), HasSubstr("A long story"));
  EXPECT_THAT(text_of(cut), HasSubstr("What had it?"));
  EXPECT_THAT(message_of([&] { make_prompt(sample, tokenizer(), chat_template(), 12); }),
              HasSubstr("room for a shortened prompt, found 4 tokens"));
}

TEST(Prompt, RoomIsLeftForTheLongerOfAnswerAndGold) {
  Sample sample = some_sample();
  const int limited = make_prompt(sample, tokenizer(), "", 500).most_answer;
  EXPECT_EQ(limited, 8);
  sample.gold = std::string(60, 'x') + " and more";
  EXPECT_GT(make_prompt(sample, tokenizer(), "", 500).most_answer, 8);
}

TEST(Prompt, WhatIsSharedEndsWithItsText) {
  Sample sample = some_sample();
  sample.shared = sample.prompt.find(" What");
  for (const std::string& form : {chat_template(), std::string()}) {
    const Prompt prompt = make_prompt(sample, tokenizer(), form, 500);
    const std::string shared = tokenizer().decode(std::span(prompt.tokens).first(prompt.shared), true);
    EXPECT_TRUE(shared.ends_with("two wells.")) << shared;
    EXPECT_THAT(text_of(prompt), StartsWith(shared));
  }
  sample.shared = sample.prompt.size();
  const Prompt all = make_prompt(sample, tokenizer(), "", 500);
  EXPECT_EQ(all.shared, all.tokens.size() - 1) << "the last token is what the answer's first one follows";
}

TEST(Fingerprint, ChangesWithAllThatMatters) {
  const auto print = [](const Sample& sample) {
    return sample_fingerprint(sample, make_prompt(sample, tokenizer(), "", 500));
  };
  const std::string base = print(some_sample());
  EXPECT_EQ(base, print(some_sample()));
  Sample changed = some_sample();
  changed.prompt += " ";
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.gold = "a well";
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.references = {"a tower", "two wells"};
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.request = Generate{9};
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.request = Generate{8, {"."}};
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.shared = 20;  // fed in two stretches
  EXPECT_NE(base, print(changed));
  changed = some_sample();
  changed.part = "x";
  changed.key = "other";
  EXPECT_EQ(base, print(changed));
}

}  // namespace
}  // namespace kvpareto
