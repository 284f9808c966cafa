#pragma once
// What was best: the Pareto front of measurements, its knee and its hypervolume. Both objectives are made smaller.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

// Which two figures are traded; a figure that is better when greater enters with its sign changed.
struct Objectives {
  std::string cost = "peak_bytes";
  std::string loss = "kld_mean";
};

// Losses below this (nats/token) are noise of 16-bit arithmetic: on the logarithmic scale they count as this much.
inline constexpr double kLossFloor = 1e-3;

// Members and dominance compare the values as they are. Knee and hypervolume scale both axes to [0,1]:
//   x = (cost - lowest) / (highest - lowest)
//   y = the same over log(max(loss, kLossFloor)); over the loss itself if some loss is negative beyond the floor
// where a width of zero makes everything 0.
struct Front {
  std::vector<size_t> members;  // indices into the measurements, cheapest first; no member is dominated
  std::vector<bool> dominated;  // for every measurement; failed or incomplete ones count as dominated
  // Index into the measurements of the member farthest below the line between the front's two ends, that is of greatest
  // 1 - x - y with x and y between those ends (Das 1999; Satopaa et al. 2011, "Kneedle"). If none lies below the line:
  // the most accurate one. Meaningless if members is empty.
  size_t knee = 0;
  // Fraction of the box between the ideal point (lowest cost and loss measured) and the reference point (highest
  // measured) that is dominated by the front (Zitzler and Thiele 1998): the sum over members, cheapest first, of
  // (x of the next, or 1, minus x) * (1 - y). Comparable between fronts of the same box only; 0 without members.
  double hypervolume = 0;
};

// Exact duplicates in both objectives: the first one stays. Measurements that failed or lack a figure never enter.
// Throws Error (kUsage) if an objective is not a figure with a direction.
Front find_front(std::span<const Measurement> measurements, const Objectives& objectives = {});

}  // namespace kvpareto
