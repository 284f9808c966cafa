#pragma once
// Which choice on every axis, where both bytes and losses add up over the axes: all of the best trades at once.

#include <vector>

#include "search/space.h"

namespace kvpareto {

// Of one choice of one axis, over the axis's first choice.
struct Share {
  double bytes = 0, loss = 0;
};

// The non-dominated sums, cheapest first, found by dynamic programming over the axes (the multiple-choice knapsack
// problem: Kellerer, Pferschy, Pisinger 2004, chapter 11). Exact but for bytes, which are told apart by `cells` equal
// steps of the whole range: of the sums that fall into one cell the least lossy stays. shares[axis][choice].
std::vector<Choices> best_allocations(const std::vector<std::vector<Share>>& shares, size_t cells);

}  // namespace kvpareto
