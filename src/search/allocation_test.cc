#include "search/allocation.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kvpareto {
namespace {

struct Sum {
  double bytes = 0, loss = 0;
};

Sum sum_of(const std::vector<std::vector<Share>>& shares, const Choices& choices) {
  Sum sum;
  for (size_t axis = 0; axis < shares.size(); ++axis) {
    sum.bytes += shares[axis][static_cast<size_t>(choices[axis])].bytes;
    sum.loss += shares[axis][static_cast<size_t>(choices[axis])].loss;
  }
  return sum;
}

std::vector<std::vector<Share>> random_shares(uint64_t seed, size_t axes, size_t choices) {
  Random random(seed);
  std::vector<std::vector<Share>> shares(axes);
  for (auto& axis : shares) {
    for (size_t i = 0; i < choices; ++i) axis.push_back({-10 * random.uniform(), random.uniform()});
  }
  return shares;
}

TEST(BestAllocations, AreTheNonDominatedOnesOfAll) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto shares = random_shares(seed, 5, 3);
    std::vector<Sum> all;
    for (int index = 0; index < 243; ++index) {
      Choices choices;
      for (int rest = index, axis = 0; axis < 5; ++axis, rest /= 3) choices.push_back(rest % 3);
      all.push_back(sum_of(shares, choices));
    }
    size_t front = 0;
    for (const Sum& a : all) {
      front += std::none_of(all.begin(), all.end(), [&](const Sum& b) { return b.bytes < a.bytes && b.loss < a.loss; });
    }
    const auto found = best_allocations(shares, 1'000'000'000);
    EXPECT_EQ(found.size(), front) << "seed " << seed;
    for (const Choices& choices : found) {
      const Sum own = sum_of(shares, choices);
      EXPECT_TRUE(std::none_of(all.begin(), all.end(),
                               [&](const Sum& b) { return b.bytes < own.bytes - 1e-9 && b.loss < own.loss - 1e-9; }))
          << "seed " << seed;
    }
  }
}

TEST(BestAllocations, AreCheapestFirstAndNoMoreThanCells) {
  const auto shares = random_shares(7, 60, 4);
  const auto found = best_allocations(shares, 100);
  EXPECT_GT(found.size(), 50u);
  EXPECT_LE(found.size(), 202u);
  for (size_t i = 1; i < found.size(); ++i) {
    EXPECT_LT(sum_of(shares, found[i - 1]).bytes, sum_of(shares, found[i]).bytes);
    EXPECT_GT(sum_of(shares, found[i - 1]).loss, sum_of(shares, found[i]).loss);
  }
}

}  // namespace
}  // namespace kvpareto
