#pragma once
// Every measurement ever made of a model, in one SQLite file that survives the process being killed at any moment.
//
// For SQL by hand: table `measurements` (point, regime, state, reason, model, weights, kv, chunk, context, time, body
// as JSON), view `figures` (point, regime, figure, value, standard_error, samples), and table `samples` (model, point,
// task, sample, body as JSON): every answer of every task.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "study/measurement.h"
#include "study/sample_result.h"

namespace kvpareto {

// One process may hold several, and several processes may write to one file; a Study belongs to one thread.
class Study {
 public:
  // Opens or creates. Throws Error (kFailure): unwritable, not a study, made by a newer program.
  explicit Study(const std::string& path);
  ~Study();
  Study(Study&& other) noexcept;

  // Durable when it returns. A later measurement of the same point and regime takes the place of the earlier one.
  // Regimes are told apart by regime_key (study/measurement_json.h): a model may be renamed.
  // Throws Error (kFailure) when the disk is full; what was recorded before stays readable.
  void record(const Measurement& measurement);

  // In regime_of(regime, point).
  std::optional<Measurement> find(const Point& point, const Regime& regime) const;
  std::vector<Measurement> all() const;                      // in order of recording
  std::vector<Measurement> all(const Regime& regime) const;  // and of what is fitted to nothing

  // One sample of a task at a point of the model with this key (model_key() of study/measurement_json.h); as durable as
  // a measurement.
  void record(const std::string& model, const Point& point, const std::string& task, const SampleResult& result);
  // What was recorded so, by fingerprint of the sample; nothing from a study that was made before samples were kept.
  std::map<std::string, SampleResult> samples(const std::string& model, const Point& point,
                                              const std::string& task) const;

  // Text kept beside the measurements under a name, durable like them; a later one takes the place of the earlier one.
  void set_note(const std::string& name, const std::string& text);
  std::optional<std::string> note(const std::string& name) const;

  const std::string& path() const;

 private:
  struct Parts;
  explicit Study(std::unique_ptr<Parts> parts);
  friend Study open_existing_study(const std::string& path);

  std::unique_ptr<Parts> parts_;
};

// Opens for reading alone; a missing file is an Error, not an empty study.
Study open_existing_study(const std::string& path);

}  // namespace kvpareto
