#pragma once
// Tasks: questions put to the model, and how answers are marked. A task never sees the engine; run_task.h puts its
// samples to a model. The same seed gives the same samples, so that every point answers the same questions.
//
// To add a task: a file in tasks/, a line in the list of tasks.cc and two in study/figures.cc (its name, and its name
// with
// "_nll"). The contract test finds it in the list: same seed, same samples; the gold answer gets the best mark, an
// empty one does not.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// The model answers freely, greedily. The prompt is what the user says; the answer begins with `answer_prefix`.
struct Generate {
  std::string prompt, answer_prefix;
  int max_tokens = 16;
  bool operator==(const Generate&) const = default;
};

struct Sample {
  Generate request;
  std::string gold;  // what a right answer goes on with after the prefix
  double depth = 0;  // where in the prompt the answer stands, 0 (start) to 1 (end)
  bool operator==(const Sample&) const = default;
};

struct TaskSetting {
  int samples = 16;
  int tokens = 2048;  // of one sample: prompt as the model is shown it, answer prefix and answer
  uint64_t seed = 1;
  std::string haystack;  // running text to hide things in; empty: the program writes its own
  // The tokens of a request as the model is shown it, without the answer.
  std::function<int64_t(const Generate&)> count_tokens;
};

struct Task {
  std::string name;         // as in study/figures.cc
  std::string description;  // one line
  // Throws Error (kUsage) if a sample cannot be as short as the setting wants.
  std::vector<Sample> (*make)(const TaskSetting& setting);
  double (*mark)(const Sample& sample, std::string_view answer);  // 0 to 1
};

std::span<const Task> tasks();

}  // namespace kvpareto
