#pragma once
// How sure a front is: everything about it again and again, on texts drawn with replacement (bootstrap, Efron 1979).
// All points are measured on the same texts, so a draw takes the same texts of all of them: what is common to them
// drops out.

#include <span>
#include <vector>

#include "search/trade.h"
#include "study/measurement.h"

namespace kvpareto {

// 95 %: what 2.5 % of the draws fall below and above.
struct Range95 {
  double low = 0, high = 0;
};

struct FrontConfidence {
  std::vector<double> on_front;  // probability that a measurement is on the front; 0 where it failed or lacks texts
  Range95 hypervolume;
  Range95 knee_cost, knee_loss;  // peak bytes, nats/token
  double knee_share = 0;         // of the draws in which the knee is the measurement that it is without drawing
  int texts = 0;                 // drawn from; fewer than 2 tell nothing, and everything is as the front has it
};

// Of divergence against peak memory. Measurements with another number of texts than most have are left out.
FrontConfidence front_confidence(std::span<const Measurement> measurements, uint64_t seed = 1);

// How far the mean divergence of b lies above that of a on the same texts, in standard errors of the difference; by the
// difference alone (infinite, or 0) where there are fewer than two texts.
double errors_apart(const Measurement& a, const Measurement& b);
inline constexpr double kBeyondError = 2;

// 95 % interval of the mean divergence, value +- 2 standard errors; the value alone where the error is not known.
Range95 loss_interval(const Measurement& m);

}  // namespace kvpareto
