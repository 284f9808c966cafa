#pragma once
// From a point to a measurement: memory really allocated, divergence and tasks through the packed cache, speed.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "engine/session.h"
#include "eval/texts.h"
#include "model/model.h"
#include "study/measurement.h"

namespace kvpareto {

struct EvalOptions {
  int context = 0;           // tokens the cache is allocated for; 0 means prefill + scored
  int prefill = 4096;        // tokens before the scored ones
  int scored = 512;          // tokens scored per text
  int step = 128;            // tokens of one teacher-forced step
  int needles = 0;           // samples of each retrieval task; 0 skips them
  int needle_tokens = 2048;  // length of a retrieval prompt
  uint64_t seed = 1;
};

// Holds the model, the texts and the 16-bit reference (hidden states of the scored positions: exact logits at hidden *
// 4 bytes a position, never context * vocabulary); swapping the KV scheme is free.
class Evaluator {
 public:
  // Progress of one measurement: fraction done, what is under way.
  using Watcher = std::function<void(double, const std::string&)>;

  Evaluator(const Model& model, const Tokenizer& tokenizer, std::vector<Text> texts, const EvalOptions& options);
  ~Evaluator();

  // The circumstances of every measurement this evaluator makes.
  const Regime& regime() const;
  // Failure is a state of the result, with its reason; only an interrupt (Error kInterrupted) is thrown.
  Measurement measure(const Point& point, const Watcher& watch = {});
  // Adds the retrieval tasks (options.needles samples each) to a measurement that lacks them.
  void measure_tasks(Measurement& measurement, const Watcher& watch = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
