#pragma once
// The tasks of an evaluation: their samples, made once and the same for every point, and the scores of a point.

#include <functional>
#include <string>
#include <vector>

#include "eval/run_task.h"
#include "model/model.h"
#include "study/measurement.h"
#include "study/study.h"

namespace kvpareto {

struct TaskOptions {
  std::vector<std::string> tasks = {};  // names; none: no tasks
  int limit = 16;                       // samples of each at most
  Split split = Split::kAll;
  // Tokens of a synthetic sample, several in turn; windows of perplexity have the first. None: 2048, or what the model
  // was trained for if that is less.
  std::vector<int> lengths = {};
  int longest = 0;                 // tokens of any sample with its answer; 0: what the model was trained for
  int at_once = 8;                 // sequences in flight
  std::string data = {};           // folder of the evaluation sets
  std::string haystack = {};       // running text to hide things in; empty: the program writes its own
  std::string chat_template = {};  // of the model file
  uint64_t seed = 1;
};

using TaskResults = std::vector<std::vector<SampleResult>>;

class TaskSet {
 public:
  using Watcher = std::function<void(double fraction, const std::string& what)>;

  // Reads data and makes all samples. Throws Error: (kUsage) an unknown task, samples too long for the model or too
  // short to be made; (kFailure) missing data, an unknown chat template. The tokenizer must outlive it.
  TaskSet(const ModelShape& shape, const Tokenizer& tokenizer, const TaskOptions& options);

  bool empty() const { return sets_.empty(); }
  size_t size() const { return sets_.size(); }
  const Task& task(size_t i) const { return *sets_[i].task; }
  const std::vector<Question>& questions(size_t i) const { return sets_[i].questions; }

  // Adds the scores of every task to the measurement, which names the point, `wanted` its scheme and chunk. Answers
  // that `study` holds are taken from it and new ones recorded as they come; null: nothing is kept. Throws what a
  // session and run_task() do. Returns the results by task and question.
  TaskResults measure(const Model& model, const SessionOptions& wanted, Measurement& measurement, Study* study,
                      const Watcher& watch) const;

  // Work that measuring a point takes, without what the study holds.
  struct Amount {
    size_t questions = 0;
    int64_t prompt_tokens = 0, answer_tokens = 0;  // to read; to write at most
  };
  // Of all points together: seconds at most, from the pace of a short run on the 16-bit cache with this chunk.
  double seconds(const Model& model, const Amount& amount, int chunk) const;
  // `model`: model_key() of study/measurement_json.h.
  Amount missing(const std::string& model, const Point& point, const Study* study) const;

 private:
  struct Set {
    const Task* task;
    std::vector<Question> questions;
    int context;  // tokens of the longest
  };
  const Tokenizer& tokenizer_;
  TaskOptions options_;
  std::vector<Set> sets_;
};

// The score's figures of the results of a task's questions, and single values for pairing.
void add_scores(Measurement& measurement, const Task& task, const std::vector<SampleResult>& results);

}  // namespace kvpareto
