#pragma once
// Points as places in the plane of cost and loss: who dominates whom, and how much of the plane a set dominates. What
// samplers and confidence compute thousands of times; front.h is the same for measurements.

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

// Both are made smaller. A place that is not finite dominates nothing.
struct Place {
  double cost = std::numeric_limits<double>::infinity();  // bytes
  double loss = std::numeric_limits<double>::infinity();  // nats/token
};

// Peak bytes and divergence of a measurement; nowhere if it failed. Null is nowhere too.
Place place_of(const Measurement* measurement);

// Indices of the non-dominated places, cheapest first; of equal ones the first.
std::vector<size_t> non_dominated(std::span<const Place> places);
// 0 for the non-dominated, 1 for those that are so without them, ... (Deb et al. 2002).
std::vector<int> dominance_ranks(std::span<const Place> places);

// Lowest and highest cost and loss; losses on the logarithmic scale of front.h.
struct Bounds {
  double low_cost = 0, high_cost = 0, low_loss = 0, high_loss = 0;
};
Bounds bounds_of(std::span<const Place> places);

// Logarithm of a loss; what is smaller than can be told from 0 counts alike.
double log_loss(double loss);

// Fraction of the box that the places dominate, as Front::hypervolume.
double hypervolume(std::span<const Place> places, const Bounds& box);

// A front as a staircase of the box, to ask what one more place would add.
class Staircase {
 public:
  Staircase(std::span<const Place> places, const Bounds& box);
  // Fraction of the box that a place at this cost and logarithm of loss would add.
  double gain(double cost, double log_loss) const;
  void add(double cost, double log_loss);

 private:
  struct Step {
    double x, y;  // in [0, 1]
  };
  Step step(double cost, double log_loss) const;
  Bounds box_;
  std::vector<Step> steps_;  // ascending x, descending y
};

}  // namespace kvpareto
