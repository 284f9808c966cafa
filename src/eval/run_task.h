#pragma once
// Puts samples to a model through packed caches, several at a time.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/session.h"
#include "eval/prompt.h"
#include "eval/task.h"
#include "study/sample_result.h"
#include "text/tokenizer.h"

namespace kvpareto {

// A sample ready to be put.
struct Question {
  Sample sample;
  Prompt prompt;
  std::string fingerprint;  // sample_fingerprint
};

struct RunProgress {
  // Work done since the last call, in tokens of prefill; what is under way may be told before it is finished.
  std::function<void(double)> work = {};
  // Called once for every question as it is finished, in any order.
  std::function<void(size_t question, const SampleResult& result)> done = {};
};

// What one decoded token costs, in tokens of prefill; for progress and estimates alone.
inline constexpr double kDecodeCost = 8;
double cost_of(const Question& question);

// Answers every question, `at_once` sequences in flight: each has a cache of its own, prompts are read one after
// another in the chunk's steps, answers are decoded in step. What several prompts share is read once, as a stretch of
// its own whatever the others are, so that a result depends neither on the other questions nor on `at_once` (bit for
// bit while that is below 16). `options.context` holds the longest question. The negative log-likelihood of the gold
// answer comes from the same prefill, teacher-forced through the cache. Throws Error (kFailure) if a logit is not
// finite; (kInterrupted).
void run_task(const Task& task, std::span<const Question> questions, const Model& model, const Tokenizer& tokenizer,
              const SessionOptions& options, int at_once, const RunProgress& progress);

}  // namespace kvpareto
