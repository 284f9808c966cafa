#pragma once
// What a configuration changed against another one, sample by sample: both answered the same questions, so the
// questions' own difficulty drops out of the difference.

#include <optional>
#include <string>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

struct Comparison {
  Estimate difference;   // mean over the common samples of candidate - baseline
  Interval interval;     // 95 %, bootstrap over samples
  double deviation = 0;  // standard deviation of single differences, for samples_needed()
  // Samples on which the candidate is worse, the most first: fingerprints (Measurement::samples), or numbers of texts.
  std::vector<std::string> regressions;
  int64_t improved = 0;

  // Neither better nor worse can be told: the interval holds 0, or fewer than kFewestChanged samples changed, where
  // even all in one direction are no rare thing by chance (sign test: 2 / 2^5 = 6 % for five).
  static constexpr int64_t kFewestChanged = 6;
  bool tie() const {
    const int64_t changed = static_cast<int64_t>(regressions.size()) + improved;
    return changed < kFewestChanged || (interval.low <= 0 && interval.high >= 0);
  }
};

// Pairs by the samples' fingerprints, texts by their place; none if the two have nothing in common, or the figure has
// no values of single samples.
std::optional<Comparison> compare(const Measurement& baseline, const Measurement& candidate, const Figure& figure);

}  // namespace kvpareto
