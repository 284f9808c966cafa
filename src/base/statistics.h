#pragma once
// A number never travels without its error.

#include <cstdint>
#include <span>

#include "base/random.h"

namespace kvpareto {

struct Estimate {
  double value = 0;
  double standard_error = 0;  // of the mean over samples; 0 for exact figures
  int64_t samples = 0;
  bool operator==(const Estimate&) const = default;
};

double mean(std::span<const double> values);

// Mean and its standard error, s / sqrt(n) with s over n - 1; the error is NaN for a single sample, which tells nothing
// of it. Throws std::invalid_argument on none.
Estimate estimate(std::span<const double> values);

// The q-quantile (0 <= q <= 1) by linear interpolation between order statistics. Copies and sorts.
double quantile(std::span<const double> values, double q);

}  // namespace kvpareto
