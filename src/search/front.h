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

struct Front {
  std::vector<size_t> members;    // indices into the measurements, cheapest first; no member is dominated
  std::vector<bool> dominated;    // for every measurement; failed or incomplete ones count as dominated
  size_t knee = 0;                // index of the member farthest below the line between the front's ends (cost linear,
                                  // loss logarithmic, both scaled to [0,1]); meaningless if members is empty
  double hypervolume = 0;         // fraction of the box between ideal and reference point that the front dominates
};

// Exact duplicates in both objectives: the first one stays. Measurements that failed or lack a figure never enter.
Front find_front(std::span<const Measurement> measurements, const Objectives& objectives = {});

}  // namespace kvpareto
