#pragma once
// Tasks: questions put to the model, and how answers are marked. A task never sees the engine; run_task.h puts its
// samples to a model. The same seed gives the same samples, so that every point answers the same questions, and a
// greater limit adds samples behind those that were there.
//
// To add a task: a line in study/task_facts.cc (its name, its figures), a file in tasks/ and a line in the list of
// tasks.cc. The contract test finds it in the list: same seed, same samples; the gold answer gets the best mark, an
// empty one does not; splits do not overlap.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "eval/split.h"
#include "study/task_facts.h"

namespace kvpareto {

// Three kinds of request serve every task.
// The model answers freely, greedily, until an end token, one of `stop`, or max_tokens.
struct Generate {
  int max_tokens = 16;
  std::vector<std::string> stop = {};
  bool operator==(const Generate&) const = default;
};
// The answer is the choice with the greatest log-likelihood after the prompt.
struct Choose {
  std::vector<std::string> choices;
  bool operator==(const Choose&) const = default;
};
// Every token but the first is predicted.
struct Read {
  std::vector<int32_t> tokens;
  bool operator==(const Read&) const = default;
};
using Request = std::variant<Generate, Choose, Read>;

struct Sample {
  std::string key;  // what it is about, the same in prompts of every length: decides its split
  Request request;
  std::string prompt = {};         // empty for Read
  size_t shared = 0;               // bytes at the start of the prompt that other samples have too: read once for all
  std::string answer_prefix = {};  // the beginning of the answer, given to the model
  bool chat = true;                // the prompt is the user's turn of a chat, or else shown as it is
  bool may_shorten = false;        // a prompt that is too long may lose its middle
  std::string gold = {};           // what a right answer goes on with after the prefix; its likelihood is measured
  std::vector<std::string> references = {};  // all that count as right, for marking; empty: gold alone
  std::string part = {};                     // of the task, for scores by part: "anatomy", "1024 tokens"; empty: none
  double depth = -1;  // where in the prompt the answer stands, 0 (start) to 1 (end); -1: no such place
  bool operator==(const Sample&) const = default;
};

struct TaskSetting {
  int samples = 16;  // at most; sets of records may have fewer
  uint64_t seed = 1;
  Split split = Split::kAll;
  std::vector<int> lengths = {2048};  // tokens of a synthetic sample with its answer; samples take turns
  std::string data = {};              // folder of the evaluation sets
  std::string haystack = {};          // running text to hide things in; empty: the program writes its own
  // The tokens of a text, and those of a sample as the model is shown it, without the answer.
  std::function<std::vector<int32_t>(std::string_view)> tokenize = {};
  std::function<int64_t(const Sample&)> count_tokens = {};
};

struct Task {
  std::string name;  // as in study/task_facts.cc
  // Throws Error: (kUsage) a sample cannot be as short as the setting wants; (kFailure) data are missing.
  std::vector<Sample> (*make)(const TaskSetting& setting);
  // 0 to 1 for the score, then for each of TaskFacts::also. Null for what is read.
  std::vector<double> (*mark)(const Sample& sample, std::string_view answer);

  const TaskFacts& facts() const { return *find_task_facts(name); }
};

std::span<const Task> tasks();
// Throws Error (kUsage) with the nearest name.
const Task& find_task(std::string_view name);

}  // namespace kvpareto
