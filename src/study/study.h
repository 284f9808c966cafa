#pragma once
// Every measurement ever made of a model, in one SQLite file that survives the process being killed at any moment.
//
// For SQL by hand: table `measurements` (point, regime, state, reason, model, weights, kv, chunk, context, time, body
// as JSON) and view `figures` (point, regime, figure, value, standard_error, samples).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "study/measurement.h"

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

  std::optional<Measurement> find(const Point& point, const Regime& regime) const;
  std::vector<Measurement> all() const;  // in order of recording
  std::vector<Measurement> all(const Regime& regime) const;

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
