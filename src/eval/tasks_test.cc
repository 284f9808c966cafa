// The contract of every task in the list, and what single ones promise beyond it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/testing.h"
#include "eval/task.h"
#include "eval/tasks/answer_marks.h"
#include "eval/tasks/haystack.h"
#include "eval/testing.h"
#include "study/measurement.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;

TaskSetting setting(int samples, int tokens, uint64_t seed) { return word_setting(samples, tokens, seed); }

class EveryTask : public ::testing::TestWithParam<size_t> {
 protected:
  const Task& task() const { return tasks()[GetParam()]; }
  std::vector<Sample> make(int samples, uint64_t seed = 1, Split split = Split::kAll) const {
    TaskSetting wanted = setting(samples, 600, seed);
    wanted.split = split;
    return task().make(wanted);
  }
};

TEST_P(EveryTask, TheSameSeedGivesTheSameSamples) {
  EXPECT_EQ(make(5), make(5));
  EXPECT_NE(make(5), make(5, 2));
}

TEST_P(EveryTask, AGreaterLimitAddsBehind) {
  const auto few = make(3), many = make(5);
  ASSERT_EQ(few.size(), 3u);
  ASSERT_EQ(many.size(), 5u);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
}

TEST_P(EveryTask, SplitsDoNotOverlap) {
  std::set<std::string> keys;
  size_t samples = 0;
  for (const Split split : {Split::kSearch, Split::kVerification, Split::kCalibration}) {
    for (const Sample& sample : make(100, 1, split)) {
      ++samples;
      EXPECT_TRUE(keys.insert(sample.key).second) << sample.key;
    }
  }
  EXPECT_GE(samples, 10u);
}

TEST_P(EveryTask, TheGoldAnswerGetsTheBestMarkAndAnEmptyOneDoesNot) {
  const auto samples = make(5);
  if (task().mark == nullptr) {
    for (const Sample& sample : samples) EXPECT_GT(std::get<Read>(sample.request).tokens.size(), 1u);
    return;
  }
  const size_t marks = 1 + task().facts().also.size();
  bool told_apart = false;
  for (const Sample& sample : samples) {
    EXPECT_EQ(task().mark(sample, sample.gold), std::vector<double>(marks, 1)) << sample.gold;
    EXPECT_EQ(task().mark(sample, ""), std::vector<double>(marks, 0));
    told_apart = told_apart || task().mark(sample, samples[0].gold).front() < 1;
    EXPECT_FALSE(sample.key.empty());
    EXPECT_LE(sample.shared, sample.prompt.size());
  }
  EXPECT_TRUE(told_apart);
}

TEST_P(EveryTask, WhatIsSharedIsShared) {
  const auto samples = make(30);
  const auto with_prefix = [](const Sample& s) { return s.prompt.substr(0, s.shared); };
  for (const Sample& sample : samples) {
    if (sample.shared == 0) continue;
    for (const Sample& other : samples) {
      const bool same = with_prefix(sample) == with_prefix(other);
      EXPECT_TRUE(!same || sample.part == other.part);
    }
  }
}

TEST_P(EveryTask, ItsFiguresAreKnown) {
  ASSERT_NE(find_task_facts(task().name), nullptr);
  for (const std::string& name : {task().name, task().name + "_nll"}) {
    ASSERT_NE(find_figure(name), nullptr) << name;
    EXPECT_EQ(find_figure(name)->task, task().name);
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, EveryTask, ::testing::Range<size_t>(0, tasks().size()),
                         [](const auto& param) { return tasks()[param.param].name; });

TEST(Tasks, AreThoseThatBothHalvesKnow) {
  std::vector<std::string> here, facts;
  for (const Task& task : tasks()) here.push_back(task.name);
  for (const TaskFacts& task : task_facts()) facts.push_back(task.name);
  EXPECT_EQ(here, facts);
  EXPECT_THAT(message_of([] { find_task("needel"); }), HasSubstr("did you mean 'needle'"));
}

// Those that the program writes itself.
class EverySyntheticTask : public ::testing::TestWithParam<std::string> {
 protected:
  const Task& task() const { return find_task(GetParam()); }
};

TEST_P(EverySyntheticTask, SamplesFillTheLengthAndNoMore) {
  for (const int tokens : {700, 3000}) {
    for (const Sample& sample : task().make(setting(4, tokens, 3))) {
      const int64_t found = count_words(sample) + std::get<Generate>(sample.request).max_tokens;
      EXPECT_LE(found, tokens);
      EXPECT_GT(found, tokens - 150) << "more would have fitted";
    }
  }
}

TEST_P(EverySyntheticTask, LengthsTakeTurnsAndArePartsOfTheScore) {
  TaskSetting wanted = setting(4, 0, 1);
  wanted.lengths = {700, 1200};
  const auto samples = task().make(wanted);
  EXPECT_EQ(samples[0].part, "700 tokens");
  EXPECT_EQ(samples[1].part, "1200 tokens");
  EXPECT_EQ(samples[3].part, "1200 tokens");
  EXPECT_GT(count_words(samples[1]), count_words(samples[0]) + 300);
}

TEST_P(EverySyntheticTask, TooShortIsAClearError) {
  EXPECT_THAT(message_of([&] { task().make(setting(2, 20, 1)); }), HasSubstr("20 tokens"));
  EXPECT_THAT(message_of([&] { task().make(setting(0, 600, 1)); }), HasSubstr("at least 1 sample"));
}

TEST_P(EverySyntheticTask, TheAnswerStandsInThePrompt) {
  for (const Sample& sample : task().make(setting(4, 1500, 4))) {
    for (const std::string& reference : sample.references) {
      EXPECT_NE(sample.prompt.find(reference), std::string::npos) << reference;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, EverySyntheticTask, ::testing::ValuesIn(synthetic_task_names()),
                         [](const auto& param) { return param.param; });

TEST(Needles, AreAsManyAsTheTaskSays) {
  const auto count = [](const std::string& task) {
    const std::string prompt = find_task(task).make(setting(1, 800, 1))[0].prompt;
    int found = 0;
    for (size_t at = prompt.find("One of the special"); at != std::string::npos;
         at = prompt.find("One of the special", at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count("needle"), 1);
  EXPECT_EQ(count("needle_multikey"), 4);
}

TEST(Needles, StandAtTheirDepthAndOnce) {
  for (const char* name : {"needle", "needle_multikey"}) {
    const auto samples = find_task(name).make(setting(8, 1500, 4));
    std::set<int> fifths;
    for (const Sample& sample : samples) {
      const std::string& prompt = sample.prompt;
      const size_t place = prompt.find(sample.gold);
      ASSERT_NE(place, std::string::npos);
      EXPECT_EQ(prompt.find(sample.gold, place + 1), std::string::npos);
      EXPECT_NEAR(static_cast<double>(place) / static_cast<double>(prompt.size()), sample.depth, 0.1);
      fifths.insert(static_cast<int>(sample.depth * 5));
    }
    EXPECT_EQ(fifths.size(), 5u) << "eight depths leave no fifth of the text without a needle";
  }
}

TEST(Needles, AUsersHaystackIsUsed) {
  TaskSetting own = setting(2, 300, 1);
  own.haystack = "Call me anything.\n\nThe  sea\twas calm! Was it?";
  for (const Sample& sample : find_task("needle").make(own)) {
    EXPECT_THAT(sample.prompt, HasSubstr("The sea was calm!"));
    EXPECT_LE(count_words(sample) + 16, 300);
  }
  own.haystack = " \n ";
  EXPECT_THAT(message_of([&] { find_task("needle").make(own); }), HasSubstr("no sentence"));
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

TEST(DataTasks, SayWhatIsMissing) {
  TaskSetting without = setting(2, 600, 1);
  without.data.clear();
  EXPECT_THAT(message_of([&] { find_task("gsm8k").make(without); }), HasSubstr("KVPARETO_DATA"));
  without.data = "/nowhere";
  EXPECT_THAT(message_of([&] { find_task("mmlu").make(without); }), HasSubstr("tools/fetch_data.py"));
}

TEST(Gsm8k, NumbersAreFoundAsTheHarnessFindsThem) {
  const Task& task = find_task("gsm8k");
  Sample sample;
  sample.gold = " Two and two.\n#### 1,234";
  const auto marks = [&](std::string_view answer) { return task.mark(sample, answer); };
  EXPECT_EQ(marks("so #### 1234"), (std::vector<double>{1, 1}));
  EXPECT_EQ(marks("it is $1,234."), (std::vector<double>{1, 0}));
  EXPECT_EQ(marks("1234 apples, or 7"), (std::vector<double>{0, 0}));
  EXPECT_EQ(marks("#### 1234 and then 9"), (std::vector<double>{0, 1}));
  EXPECT_EQ(marks("#### -1234"), (std::vector<double>{0, 0}));
  EXPECT_EQ(marks("####1234"), (std::vector<double>{1, 0}));
  sample.gold = " #### -5";
  EXPECT_EQ(marks("x = -5"), (std::vector<double>{1, 0}));
  EXPECT_EQ(marks("x = -$5"), (std::vector<double>{1, 0}));
}

TEST(Marks, TokenF1IsThatOfLongBench) {
  EXPECT_EQ(answer_words("The  Cat's 3.5\tmiles, a\nDOG"), (std::vector<std::string>{"cats", "35", "miles", "dog"}));
  EXPECT_DOUBLE_EQ(token_f1("the red cat", "Red dog"), 0.5);
  EXPECT_DOUBLE_EQ(token_f1("cat cat cat", "cat cat"), 2 * (2.0 / 3) * 1 / (2.0 / 3 + 1));
  EXPECT_EQ(token_f1("", "cat"), 0);
  EXPECT_EQ(token_f1("the", "a"), 0);
}

TEST(Mmlu, PromptsAreTheHarness) {
  const auto samples = find_task("mmlu").make(setting(40, 600, 1));
  const Sample& sample =
      *std::find_if(samples.begin(), samples.end(), [](const Sample& s) { return s.part == "small_sums"; });
  EXPECT_TRUE(
      sample.prompt.starts_with("The following are multiple choice questions (with answers) about small sums.\n\n"
                                "1 + 1, \"plainly\"?\nA. 3\nB. 4\nC. 2\nD. 7\nAnswer: C\n\n"))
      << sample.prompt;
  EXPECT_TRUE(sample.prompt.ends_with("\nAnswer:"));
  EXPECT_EQ(std::get<Choose>(sample.request).choices, (std::vector<std::string>{" A", " B", " C", " D"}));
}

TEST(Wikitext, SearchReadsTheValidationText) {
  TaskSetting wanted = setting(100, 64, 1);
  const auto test = find_task("wikitext2").make(wanted);
  wanted.split = Split::kSearch;
  for (const Sample& sample : find_task("wikitext2").make(wanted)) EXPECT_THAT(sample.key, HasSubstr("wiki.valid.raw"));
  EXPECT_THAT(test[0].key, HasSubstr("wiki.test.raw"));
  EXPECT_EQ(std::get<Read>(test[0].request).tokens.size(), 64u);
}

}  // namespace
}  // namespace kvpareto
