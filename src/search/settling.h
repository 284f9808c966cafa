#pragma once
// When a search may end: the front no longer moves by more than its own error.

#include <span>

#include "search/trade.h"
#include "study/measurement.h"

namespace kvpareto {

// Standard error of the fraction of the box that these measurements dominate: jackknife over their texts, of which all
// have the same. What a text does to all points alike (it is easy, or hard) moves no front and is taken out first.
// Infinite with fewer than two texts, or measurements of different texts.
double front_error(std::span<const Measurement> measurements, const Bounds& box);

// Whether the last `window` of the measurements (in the order they were made) together have moved the front by no more
// than that error. Never with fewer than twice as many.
bool has_settled(std::span<const Measurement> measurements, const Bounds& box, size_t window);

}  // namespace kvpareto
