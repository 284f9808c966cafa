// The contract of every task in the list.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/testing.h"
#include "eval/task.h"
#include "eval/tasks/haystack.h"
#include "study/measurement.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;

// Words stand in for tokens.
int64_t count_words(const Generate& request) {
  const std::string text = request.prompt + request.answer_prefix;
  return std::count_if(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n'; }) + 1;
}

TaskSetting setting(int samples, int tokens, uint64_t seed) { return {samples, tokens, seed, "", count_words}; }

class EveryTask : public ::testing::TestWithParam<size_t> {
 protected:
  const Task& task() const { return tasks()[GetParam()]; }
};

TEST_P(EveryTask, TheSameSeedGivesTheSameSamples) {
  EXPECT_EQ(task().make(setting(5, 600, 1)), task().make(setting(5, 600, 1)));
  EXPECT_NE(task().make(setting(5, 600, 1)), task().make(setting(5, 600, 2)));
}

TEST_P(EveryTask, TheGoldAnswerGetsTheBestMarkAndAnEmptyOneDoesNot) {
  const auto samples = task().make(setting(5, 600, 1));
  for (const Sample& sample : samples) {
    EXPECT_EQ(task().mark(sample, sample.gold), 1);
    EXPECT_EQ(task().mark(sample, ""), 0);
  }
  EXPECT_EQ(task().mark(samples[0], samples[1].gold), 0);
  EXPECT_EQ(task().mark(samples[0], samples[0].gold.substr(0, samples[0].gold.size() - 1)), 0);
}

TEST_P(EveryTask, SamplesFillTheLengthAndNoMore) {
  for (const int tokens : {150, 600, 3000}) {
    for (const Sample& sample : task().make(setting(4, tokens, 3))) {
      const int64_t found = count_words(sample.request) + sample.request.max_tokens;
      EXPECT_LE(found, tokens);
      EXPECT_GT(found, tokens - 40) << "a sentence more would have fitted";
    }
  }
}

TEST_P(EveryTask, TheAnswerStandsInThePromptAtItsDepth) {
  const auto samples = task().make(setting(8, 1500, 4));
  for (const Sample& sample : samples) {
    const std::string& prompt = sample.request.prompt;
    const size_t place = prompt.find(sample.gold);
    ASSERT_NE(place, std::string::npos);
    EXPECT_EQ(prompt.find(sample.gold, place + 1), std::string::npos);
    EXPECT_NEAR(static_cast<double>(place) / static_cast<double>(prompt.size()), sample.depth, 0.1);
  }
  EXPECT_LT(samples.front().depth, 0.13);
  EXPECT_GT(samples.back().depth, 0.87);
}

TEST_P(EveryTask, TooShortIsAClearError) {
  EXPECT_THAT(message_of([&] { task().make(setting(2, 20, 1)); }), HasSubstr("20 tokens"));
  EXPECT_THAT(message_of([&] { task().make(setting(0, 600, 1)); }), HasSubstr("at least 1 sample"));
}

TEST_P(EveryTask, ItsFiguresAreKnown) {
  EXPECT_NE(find_figure(task().name), nullptr);
  EXPECT_NE(find_figure(task().name + "_nll"), nullptr);
}

TEST_P(EveryTask, AUsersHaystackIsUsed) {
  TaskSetting own = setting(2, 300, 1);
  own.haystack = "Call me anything.\n\nThe  sea\twas calm! Was it?";
  for (const Sample& sample : task().make(own)) {
    EXPECT_THAT(sample.request.prompt, HasSubstr("The sea was calm!"));
    EXPECT_LE(count_words(sample.request) + sample.request.max_tokens, 300);
  }
  own.haystack = " \n ";
  EXPECT_THAT(message_of([&] { task().make(own); }), HasSubstr("no sentence"));
}

INSTANTIATE_TEST_SUITE_P(Tasks, EveryTask, ::testing::Range<size_t>(0, tasks().size()),
                         [](const auto& param) { return tasks()[param.param].name; });

TEST(Needles, AreAsManyAsTheTaskSays) {
  const auto count = [](const Task& task) {
    const std::string prompt = task.make(setting(1, 800, 1))[0].request.prompt;
    int found = 0;
    for (size_t at = prompt.find("One of the special"); at != std::string::npos;
         at = prompt.find("One of the special", at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count(tasks()[0]), 1);
  EXPECT_EQ(count(tasks()[1]), 4);
}

TEST(Hay, IsVariedAndHoldsNothingThatLooksLikeANeedle) {
  Random random(1);
  const auto hay = write_hay(500, random);
  const std::set<std::string> different(hay.begin(), hay.end());
  EXPECT_GT(different.size(), 495u);
  for (const std::string& sentence : hay) {
    EXPECT_EQ(sentence.find_first_of("0123456789:{}"), std::string::npos) << sentence;
    EXPECT_EQ(sentence.find("magic"), std::string::npos);
    EXPECT_EQ(sentence.back(), '.');
    EXPECT_TRUE(sentence[0] >= 'A' && sentence[0] <= 'Z') << sentence;
  }
}

}  // namespace
}  // namespace kvpareto
