#pragma once
// Every measurement ever made of a model, in one SQLite file that survives the process being killed at any moment.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

class Study {
 public:
  // Opens or creates. Throws Error (kFailure): unwritable, not a study, made by a newer program.
  explicit Study(const std::string& path);
  ~Study();

  // Durable when it returns. A later measurement of the same point and regime takes the place of the earlier one.
  // Throws Error (kFailure) when the disk is full; what was recorded before stays readable.
  void record(const Measurement& measurement);

  std::optional<Measurement> find(const Point& point, const Regime& regime) const;
  std::vector<Measurement> all() const;  // in order of recording
  std::vector<Measurement> all(const Regime& regime) const;
  const std::string& path() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Opens for reading alone; a missing file is an Error, not an empty study.
Study open_existing_study(const std::string& path);

}  // namespace kvpareto
