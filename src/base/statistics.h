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

struct Interval {
  double low = 0, high = 0;
};

double mean(std::span<const double> values);

// Mean and its standard error, s / sqrt(n) with s over n - 1; the error is NaN for a single sample, which tells nothing
// of it. Throws std::invalid_argument on none.
Estimate estimate(std::span<const double> values);

// The q-quantile (0 <= q <= 1) by linear interpolation between order statistics. Copies and sorts.
double quantile(std::span<const double> values, double q);

// The 95 % interval of the mean by the percentile bootstrap (Efron 1979): 4000 samples drawn with replacement, seeded
// by nothing but the count, so that the same values give the same interval. A point for a single value. Throws
// std::invalid_argument on none.
Interval bootstrap_interval(std::span<const double> values);

// Samples that a paired comparison needs so that a mean difference of `difference` is found (two-sided 5 %) four times
// of five, where single differences have the standard deviation `deviation`: ((1.96 + 0.84) deviation / difference)^2,
// and at least 2.
int64_t samples_needed(double deviation, double difference);

}  // namespace kvpareto
