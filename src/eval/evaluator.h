#pragma once
// From a point to a measurement: memory really allocated, divergence and tasks through the packed cache, speed.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/session.h"
#include "eval/task_set.h"
#include "eval/text_results.h"
#include "eval/texts.h"
#include "model/shelf.h"
#include "study/measurement.h"

namespace kvpareto {

struct EvalOptions {
  int context = 0;     // tokens the cache is allocated for; 0 means prefill + scored
  int prefill = 4096;  // tokens before the scored ones
  int scored = 512;    // tokens scored per text; 0 means all that follow the prefill
  int step = 128;      // tokens of one teacher-forced step; a point whose chunk is smaller steps by its chunk
  int decoded = 16;    // tokens decoded one by one after the prefill for decode_ts; 0: no such figure
  TaskOptions tasks;   // their seed is this one
  std::string reference_folder = {};  // where states of the baseline are kept (reference_store.h); empty: nowhere
  std::shared_ptr<TextResults> shared = {};  // with other evaluators of the same model; none: nothing is kept
  ModelShelf* reference = nullptr;           // its 16-bit states are the reference; null: those of the model itself
  uint64_t seed = 1;
};

// "pack-then-attend" or "attend-then-pack", as the point's scheme says. Throws Error (kUsage) on a scheme that is none.
std::string order_of(const Point& point);

// Holds the texts and the 16-bit reference of a model (hidden states of the scored positions: exact logits at hidden *
// 4 bytes a position, never context * vocabulary). Swapping the KV scheme is free; other weights are loaded in place of
// the last ones, so points are best sorted by weights. Shelf and tokenizer must outlive it.
class Evaluator {
 public:
  // Progress of one measurement: fraction done, what is under way.
  using Watcher = std::function<void(double, const std::string&)>;

  // A text may have a token more than prefill + scored: the one that the last scored position predicts. Throws Error
  // (kUsage): a shorter text, a context that does not hold them or is longer than the model's, ids outside the
  // vocabulary, a reference with another vocabulary; what TaskSet does. Without texts there is no divergence and no
  // speed, and a context must be given.
  Evaluator(ModelShelf& models, const Tokenizer& tokenizer, std::vector<Text> texts, const EvalOptions& options);
  ~Evaluator();

  // The circumstances of every measurement this evaluator makes.
  const Regime& regime() const;
  // Memory, divergence and speed. Failure is a state of the result, with its reason; only an interrupt (Error
  // kInterrupted) is thrown.
  Measurement measure(const Point& point, const Watcher& watch = {});
  const TaskSet& tasks() const;
  // Adds the scores of the tasks (options.tasks, the same samples for every point) to a measurement. Answers that
  // `study` holds already are taken from it, and each new one is recorded there at once; null keeps none. Failure as in
  // measure(); a measurement that failed already is left alone. Returns the results by task and question; none after a
  // failure.
  TaskResults measure_tasks(Measurement& measurement, Study* study = nullptr, const Watcher& watch = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
