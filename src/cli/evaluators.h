#pragma once
// The evaluators of a search: on all of its texts, on the first few of them, on the first one cut short, and on texts
// that it must not see.

#include <map>
#include <memory>
#include <vector>

#include "cli/shared_options.h"
#include "eval/evaluator.h"
#include "study/study.h"

namespace kvpareto {

// Cheap measurements on a few texts, or on a shortened one, tell what is worth a whole one. What is made of a number of
// texts, or of less of them, is a regime of its own in the study; texts that a point was measured on in this run are
// not paid again. `loaded` must outlive it.
class Evaluators {
 public:
  Evaluators(const LoadedModel& loaded, std::vector<Text> texts, EvalOptions options);

  int texts() const { return static_cast<int>(all_.size()); }
  const std::vector<Text>& all() const { return all_; }
  Evaluator& whole() { return on(texts()); }
  // kShortened (search/sampler.h): on the beginning of the first text, if that is much cheaper.
  Evaluator& on(int texts);
  // What a trial on the shortened text takes, in whole measurements; 0: there is none.
  double short_cost() const;
  // What the study holds on the shortened text, on 1, 2, 4, ... and on all texts, as samplers know it: Regime::texts is
  // the trial's.
  std::vector<Measurement> kept(const Study& study) const;
  // What it holds of this model beside that: another context, other texts, single layers.
  std::vector<Measurement> elsewhere(const Study& study) const;

 private:
  const LoadedModel& loaded_;
  std::vector<Text> all_;
  EvalOptions options_;
  std::map<int, std::unique_ptr<Evaluator>> made_;
};

// What a search tunes on where the user names no text: WikiText-2's validation set, if there are data, so that its test
// set can verify; else text that the model samples.
TextOptions tuning_texts(const TextOptions& options);

// As many texts again that share no passage with `tuned`: other places of the user's file, WikiText-2's test set, or
// samples of another seed. Fewer, or none, if the file holds no more.
std::vector<Text> held_out_texts(const TextOptions& options, const std::vector<Text>& tuned, const LoadedModel& loaded,
                                 int tokens, Study* study);

}  // namespace kvpareto
