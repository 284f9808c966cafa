#include "search/trade.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "search/front.h"

namespace kvpareto {
namespace {
using ::testing::ElementsAre;

std::vector<Place> random_places(uint64_t seed, size_t count) {
  Random random(seed);
  std::vector<Place> places;
  for (size_t i = 0; i < count; ++i)
    places.push_back({std::floor(20 * random.uniform()), std::exp(-5 * random.uniform())});
  return places;
}

std::vector<Measurement> measurements(const std::vector<Place>& places) {
  std::vector<Measurement> list;
  for (const Place& place : places) {
    list.emplace_back();
    list.back().values = {{"peak_bytes", {place.cost, 0, 1}}, {"kld_mean", {place.loss, 0, 1}}};
  }
  return list;
}

TEST(Trade, AgreesWithFindFront) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const auto places = random_places(seed, 1 + seed);
    const Front front = find_front(measurements(places));
    EXPECT_EQ(non_dominated(places), front.members) << "seed " << seed;
    EXPECT_NEAR(hypervolume(places, bounds_of(places)), front.hypervolume, 1e-12) << "seed " << seed;
  }
}

TEST(Trade, StaircaseGainsWhatThePlaceAdds) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    auto places = random_places(seed, 12);
    const Bounds box = bounds_of(places);
    const Place last = places.back();
    places.pop_back();
    const double before = hypervolume(places, box);
    const double gain = Staircase(places, box).gain(last.cost, std::log(std::max(last.loss, kLossFloor)));
    places.push_back(last);
    EXPECT_NEAR(hypervolume(places, box), before + gain, 1e-12) << "seed " << seed;
  }
}

TEST(Trade, RanksPeelFronts) {
  const std::vector<Place> places = {{1, 3}, {2, 2}, {3, 1}, {2, 3}, {3, 3}, {4, 4}, {}};
  EXPECT_THAT(dominance_ranks(places), ElementsAre(0, 0, 0, 1, 2, 3, std::numeric_limits<int>::max()));
}

TEST(Trade, WhatFailedIsNowhere) {
  Measurement failed = measurements({{1, 1}}).front();
  failed.state = State::kFailed;
  EXPECT_FALSE(std::isfinite(place_of(&failed).cost));
  EXPECT_FALSE(std::isfinite(place_of(nullptr).loss));
}

}  // namespace
}  // namespace kvpareto
