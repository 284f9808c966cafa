#include "eval/run_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "eval/task_set.h"
#include "eval/testing.h"
#include "eval/valueless_backend.h"

namespace kvpareto {
namespace {

using Results = std::map<std::string, SampleResult>;  // by fingerprint

const TinyModel& tiny() {
  static const TinyModel model("tiny-llama-hd64.gguf");
  return model;
}

TaskOptions options_of(const std::string& task, int limit) {
  return {.tasks = {task}, .limit = limit, .lengths = {400}, .data = KVPARETO_TESTDATA "/tasks"};
}

// Every kind of request: free answer, choice, reading.
const std::vector<std::string> kKinds = {"needle", "gsm8k", "hotpotqa", "mmlu", "wikitext2"};

SessionOptions session_options(const TaskSet& set, const std::string& kv, int chunk) {
  SessionOptions options{parse_scheme(kv), 0, chunk, 16};
  for (const Question& question : set.questions(0)) {
    const int tokens = static_cast<int>(question.prompt.tokens.size()) + question.prompt.most_answer;
    options.context = std::max(options.context, tokens);
  }
  return options;
}

Results answers(const TaskSet& set, const Model& model, const std::string& kv, int chunk, int at_once) {
  Results results;
  const RunProgress progress{.done = [&](size_t, const SampleResult& r) { results[r.sample] = r; }};
  run_task(set.task(0), set.questions(0), model, tiny().tokenizer, session_options(set, kv, chunk), at_once, progress);
  return results;
}

void expect_equal(const Results& a, const Results& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [sample, result] : a) {
    EXPECT_EQ(result.answer, b.at(sample).answer);
    EXPECT_EQ(result.scores, b.at(sample).scores);
  }
}

class EveryKind : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryKind, ResultsDoNotDependOnWhatElseIsInFlight) {
  const TaskSet set(tiny().model.shape, tiny().tokenizer, options_of(GetParam(), 9));
  const TaskSet fewer(tiny().model.shape, tiny().tokenizer, options_of(GetParam(), 2));
  for (const char* kv : {"k16v16", "k4t32.pre.v4g32"}) {
    const Results alone = answers(set, tiny().model, kv, 48, 1);
    EXPECT_EQ(alone.size(), 9u);
    for (const int at_once : {2, 5, 15}) expect_equal(alone, answers(set, tiny().model, kv, 48, at_once));
    for (const auto& [sample, result] : answers(fewer, tiny().model, kv, 48, 4)) {
      EXPECT_EQ(alone.at(sample).scores, result.scores) << "the other samples must not matter";
    }
  }
}

TEST_P(EveryKind, TheGoldAnswersLossIsThatOfTheWholeSequence) {
  const TaskSet set(tiny().model.shape, tiny().tokenizer, options_of(GetParam(), 2));
  for (const Question& question : set.questions(0)) {
    std::vector<int32_t> tokens = question.prompt.tokens;
    const size_t asked = question.prompt.gold.empty() ? 1 : tokens.size();
    tokens.insert(tokens.end(), question.prompt.gold.begin(), question.prompt.gold.end());
    Session whole(tiny().model, {KvScheme(), 512, 512, 512});
    double loss = 0;
    whole.forward(tokens, [&](int64_t i, std::span<const float> logits) {
      const size_t next = static_cast<size_t>(i) + 1;
      if (next < asked || next >= tokens.size()) return;
      double sum = 0;
      for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
      loss += (std::log(sum) - logits[static_cast<size_t>(tokens[next])]) / static_cast<double>(tokens.size() - asked);
    });
    for (const int chunk : {16, 64}) {
      const Results found = answers(set, tiny().model, "k16v16", chunk, 3);
      EXPECT_NEAR(found.at(question.fingerprint).scores.at(GetParam() + "_nll"), loss, 0.02 * loss) << chunk;
    }
  }
}

// What attention gives is nothing but what it reads from the cache: without values every score changes, and it changes
// through the packed cache's `pack` alone.
TEST_P(EveryKind, ScoresAreReadFromThePackedValues) {
  const TaskSet set(tiny().model.shape, tiny().tokenizer, options_of(GetParam(), 6));
  const ValuelessModel valueless(*tiny().checkpoint, Codec::kInt4);
  const Results with = answers(set, tiny().model, "k8v4g32", 48, 4);
  const Results without = answers(set, valueless.model, "k8v4g32", 48, 4);
  EXPECT_GT(valueless.rows(), 0);
  size_t changed = 0;
  for (const auto& [sample, result] : with) {
    const double before = result.scores.at(GetParam() + "_nll"),
                 after = without.at(sample).scores.at(GetParam() + "_nll");
    EXPECT_GT(std::abs(before - after), 1e-3);
    changed += result.answer != without.at(sample).answer;
  }
  // Two of the kinds have no free answer.
  if (GetParam() != "wikitext2" && GetParam() != "mmlu") {
    EXPECT_GT(changed, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(RunTask, EveryKind, ::testing::ValuesIn(kKinds),
                         [](const auto& param) { return param.param; });

// Of the whole sequence at once, without a mark.
double log_likelihood(const std::vector<int32_t>& prompt, const std::vector<int32_t>& choice) {
  std::vector<int32_t> tokens = prompt;
  tokens.insert(tokens.end(), choice.begin(), choice.end());
  Session session(tiny().model, {KvScheme(), 512, 512, 16});
  double sum = 0;
  session.forward(tokens, [&](int64_t i, std::span<const float> logits) {
    const size_t next = static_cast<size_t>(i) + 1;
    if (next < prompt.size() || next >= tokens.size()) return;
    double mass = 0;
    for (const float logit : logits) mass += std::exp(static_cast<double>(logit));
    sum += logits[static_cast<size_t>(tokens[next])] - std::log(mass);
  });
  return sum;
}

TEST(RunTask, TheChosenAnswerIsTheLikeliest) {
  const TaskSet set(tiny().model.shape, tiny().tokenizer, options_of("mmlu", 12));
  const Results found = answers(set, tiny().model, "k16v16", 64, 1);
  for (const Question& question : set.questions(0)) {
    const std::vector<std::string>& choices = std::get<Choose>(question.sample.request).choices;
    const std::string& chosen = found.at(question.fingerprint).answer;
    std::map<std::string, double> likelihoods;
    double most = -1e9;
    for (size_t i = 0; i < choices.size(); ++i) {
      likelihoods[choices[i]] = log_likelihood(question.prompt.tokens, question.prompt.choices[i]);
      most = std::max(most, likelihoods[choices[i]]);
    }
    EXPECT_NEAR(likelihoods.at(chosen), most, 1e-3);
  }
}

TEST(RunTask, AnswersEndAtTheirStopsAndLimits) {
  TaskSet set(tiny().model.shape, tiny().tokenizer, options_of("needle", 3));
  std::vector<Question> questions = set.questions(0);
  const SessionOptions options = session_options(set, "k16v16", 64);
  std::map<size_t, std::string> free, stopped;
  const auto run = [&](std::map<size_t, std::string>& into) {
    const RunProgress progress{.done = [&](size_t i, const SampleResult& r) { into[i] = r.answer; }};
    run_task(set.task(0), questions, tiny().model, tiny().tokenizer, options, 2, progress);
  };
  run(free);
  for (size_t i = 0; i < questions.size(); ++i) {
    ASSERT_GT(free[i].size(), 3u);
    std::get<Generate>(questions[i].sample.request).stop = {free[i].substr(2, 1)};
  }
  run(stopped);
  for (size_t i = 0; i < questions.size(); ++i) {
    EXPECT_EQ(stopped[i], free[i].substr(0, free[i].find(free[i].substr(2, 1))));
  }
}

TEST(RunTask, WorkAddsUpToItsEstimate) {
  for (const std::string& task : kKinds) {
    const TaskSet set(tiny().model.shape, tiny().tokenizer, options_of(task, 5));
    double total = 0, done = 0;
    for (const Question& question : set.questions(0)) total += cost_of(question);
    const RunProgress progress{.work = [&](double work) { done += work; }, .done = [](size_t, const SampleResult&) {}};
    run_task(set.task(0), set.questions(0), tiny().model, tiny().tokenizer, session_options(set, "k16v16", 64), 3,
             progress);
    EXPECT_NEAR(done, total, 5.0) << task << ": a token a sample, which is fed with the answer";
  }
}

}  // namespace
}  // namespace kvpareto
