#include "search/front.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "base/testing.h"

namespace kvpareto {
namespace {
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Measurement at(double cost, double loss) {
  Measurement m;
  m.values["peak_bytes"] = {cost, 0, 1};
  m.values["kld_mean"] = {loss, 0, 1};
  return m;
}

bool complete(const Measurement& m) {
  return m.state == State::kDone && std::isfinite(m.value("peak_bytes")) && std::isfinite(m.value("kld_mean"));
}

bool dominates(const Measurement& a, const Measurement& b) {
  const double cost_a = a.value("peak_bytes"), cost_b = b.value("peak_bytes");
  const double loss_a = a.value("kld_mean"), loss_b = b.value("kld_mean");
  return cost_a <= cost_b && loss_a <= loss_b && (cost_a < cost_b || loss_a < loss_b);
}

bool duplicates(const Measurement& a, const Measurement& b) {
  return a.value("peak_bytes") == b.value("peak_bytes") && a.value("kld_mean") == b.value("kld_mean");
}

// Few distinct values, so that ties and duplicates are common; now and then one that does not count.
rc::Gen<Measurement> any_measurement() {
  return rc::gen::map(rc::gen::tuple(rc::gen::inRange(0, 12), rc::gen::inRange(0, 12), rc::gen::inRange(0, 20)),
                      [](const std::tuple<int, int, int>& t) {
                        const auto [cost, loss, oddity] = t;
                        Measurement m = at(cost, loss / 8.0);
                        if (oddity == 0) m.state = State::kFailed;
                        if (oddity == 1) m.values["kld_mean"].value = kNaN;
                        if (oddity == 2) m.values.erase("peak_bytes");
                        if (oddity == 3) m.values["kld_mean"].value = kInfinity;
                        return m;
                      });
}
std::vector<Measurement> any_measurements() { return *rc::gen::container<std::vector<Measurement>>(any_measurement()); }

// What identifies a front apart from indices.
std::vector<std::pair<double, double>> corners(const std::vector<Measurement>& measurements, const Front& front) {
  std::vector<std::pair<double, double>> found;
  for (const size_t i : front.members) {
    found.emplace_back(measurements[i].value("peak_bytes"), measurements[i].value("kld_mean"));
  }
  return found;
}

TEST(Front, OfNothing) {
  EXPECT_THAT(find_front({}).members, IsEmpty());
  Measurement failed = at(1, 1);
  failed.state = State::kFailed;
  const std::vector<Measurement> none = {failed,           at(kNaN, 1),      at(1, kNaN),
                                         at(kInfinity, 1), at(1, kInfinity), Measurement{}};
  const Front front = find_front(none);
  EXPECT_THAT(front.members, IsEmpty());
  EXPECT_EQ(front.dominated, std::vector<bool>(6, true));
  EXPECT_EQ(front.hypervolume, 0);
}

TEST(Front, OfKnownPoints) {
  //                                         0          1           2            3           4           5
  const std::vector<Measurement> measured = {at(9, 0), at(3, 1), at(5, 0.01), at(5, 0.02), at(6, 0.01), at(5, 0.01)};
  const Front front = find_front(measured);
  EXPECT_THAT(front.members, ElementsAre(1, 2, 0));
  EXPECT_THAT(front.dominated, ElementsAre(false, false, false, true, true, true));
  EXPECT_EQ(front.knee, 2u);
  // Cost 3..9; loss from the floor to 1 in logarithms.
  EXPECT_NEAR(front.hypervolume, 4.0 / 6 * std::log(0.01) / std::log(kLossFloor), 1e-12);
}

TEST(Front, FiguresThatAreBetterWhenGreater) {
  std::vector<Measurement> measured = {at(1, 0), at(1, 0), at(1, 0)};
  measured[0].values["decode_ts"].value = 50, measured[0].values["needle"].value = 0.5;
  measured[1].values["decode_ts"].value = 40, measured[1].values["needle"].value = 1;
  measured[2].values["decode_ts"].value = 40, measured[2].values["needle"].value = 0.9;
  const Front front = find_front(measured, {"decode_ts", "needle"});
  EXPECT_THAT(front.members, ElementsAre(0, 1));
  EXPECT_THAT(front.dominated, ElementsAre(false, false, true));
  // Scaled: (0, 1), (1, 0), (1, 0.2): a front of ends alone dominates nothing of the box.
  EXPECT_NEAR(front.hypervolume, 0, 1e-12);
}

TEST(Front, LossesBelowTheFloorAreEqualOnTheScaleOnly) {
  const std::vector<Measurement> measured = {at(3, 1), at(4, 0.9e-4), at(8, 0)};
  const Front front = find_front(measured);
  EXPECT_THAT(front.members, ElementsAre(0, 1, 2));
  EXPECT_EQ(front.knee, 1u);
  EXPECT_NEAR(front.hypervolume, 0.8, 1e-12);
}

TEST(Front, NegativeLossesAreOnALinearScale) {
  const std::vector<Measurement> measured = {at(0, 1), at(5, 0.5), at(10, -1)};
  EXPECT_NEAR(find_front(measured).hypervolume, 0.5 * 0.25, 1e-12);
}

TEST(Front, OneMeasurementIsItsOwnKneeAndDominatesItsBox) {
  const std::vector<Measurement> one = {at(kNaN, 0), at(5, 0.1)};
  EXPECT_EQ(find_front(one).knee, 1u);
  EXPECT_EQ(find_front(one).hypervolume, 1);
}

TEST(Front, TheKneeIsTheAccurateEndIfNothingLiesBelowTheLine) {
  EXPECT_EQ(find_front(std::vector{at(9, 0), at(3, 1)}).knee, 0u);
  EXPECT_EQ(find_front(std::vector{at(3, 1), at(8, 0.9), at(9, 1e-4)}).knee, 2u);
}

TEST(Front, UnknownObjectives) {
  const auto error = error_of([] { find_front({}, {"peak_byte", "kld_mean"}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("'peak_byte'"), HasSubstr("nearest is peak_bytes")));
  EXPECT_TRUE(error_of([] { find_front({}, {"peak_bytes", ""}); }));
}

TEST(FrontProperty, MembersAreExactlyTheNonDominated) {
  EXPECT_TRUE(rc::check("no member is dominated; every other one is, or is a duplicate, or does not count", [] {
    const auto measured = any_measurements();
    const Front front = find_front(measured);
    RC_ASSERT(front.dominated.size() == measured.size());
    std::vector<bool> member(measured.size());
    for (const size_t i : front.members) member[i] = true;
    for (size_t i = 0; i < measured.size(); ++i) {
      RC_ASSERT(member[i] != front.dominated[i]);
      bool beaten = !complete(measured[i]);
      for (size_t j = 0; j < measured.size(); ++j) {
        if (!complete(measured[j]) || i == j) continue;
        beaten = beaten || dominates(measured[j], measured[i]) || (j < i && duplicates(measured[j], measured[i]));
      }
      RC_ASSERT(member[i] != beaten);
    }
    for (size_t k = 1; k < front.members.size(); ++k) {
      RC_ASSERT(measured[front.members[k - 1]].value("peak_bytes") < measured[front.members[k]].value("peak_bytes"));
    }
    if (!front.members.empty()) RC_ASSERT_FALSE(front.dominated[front.knee]);
    RC_ASSERT(front.hypervolume >= 0);
    RC_ASSERT(front.hypervolume <= 1);
  }));
}

TEST(FrontProperty, TheOrderOfMeasurementsIsIrrelevant) {
  EXPECT_TRUE(rc::check("shuffled measurements have the same front", [] {
    const auto measured = any_measurements();
    auto shuffled = measured;
    Random random(*rc::gen::arbitrary<uint64_t>());
    for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
    const Front a = find_front(measured), b = find_front(shuffled);
    RC_ASSERT(corners(measured, a) == corners(shuffled, b));
    RC_ASSERT(a.hypervolume == b.hypervolume);
    if (!a.members.empty()) RC_ASSERT(duplicates(measured[a.knee], shuffled[b.knee]));
  }));
}

// With both extremes present the box of the hypervolume stays the same whatever comes between.
std::vector<Measurement> any_measurements_in_a_box() {
  auto measured = any_measurements();
  measured.push_back(at(0, 12));
  measured.push_back(at(12, 0));
  return measured;
}

TEST(FrontProperty, ADominatedMeasurementChangesNothing) {
  EXPECT_TRUE(rc::check("front, knee and hypervolume stay", [] {
    auto measured = any_measurements_in_a_box();
    const Front before = find_front(measured);
    const Measurement& better = measured[*rc::gen::elementOf(before.members)];
    const double more = *rc::gen::inRange(0, 10), worse = *rc::gen::inRange(0, 10);
    measured.push_back(
        at(std::min(12.0, better.value("peak_bytes") + more), std::min(12.0, better.value("kld_mean") + worse)));
    const Front after = find_front(measured);
    RC_ASSERT(after.members == before.members);
    RC_ASSERT(after.knee == before.knee);
    RC_ASSERT(after.hypervolume == before.hypervolume);
    RC_ASSERT(after.dominated.back());
  }));
}

TEST(FrontProperty, TheHypervolumeNeverShrinksInItsBox) {
  EXPECT_TRUE(rc::check("one more measurement does not lower it, a new member raises it", [] {
    auto measured = any_measurements_in_a_box();
    const double before = find_front(measured).hypervolume;
    measured.push_back(at(*rc::gen::inRange(1, 12), *rc::gen::inRange(1, 96) / 8.0));
    const Front front = find_front(measured);
    RC_ASSERT(front.hypervolume >= before - 1e-12);
    if (!front.dominated.back()) RC_ASSERT(front.hypervolume > before);
  }));
}

// The specification: count cells of a fine grid over the box that some measurement dominates.
TEST(FrontProperty, TheHypervolumeIsTheShareOfDominatedCells) {
  EXPECT_TRUE(rc::check("counting cells gives the same", [] {
    const auto measured = any_measurements_in_a_box();
    const double log_best = std::log(kLossFloor), log_worst = std::log(12.0);
    constexpr int kCells = 300;
    int inside = 0;
    for (int x = 0; x < 12; ++x) {
      for (int y = 0; y < kCells; ++y) {
        const Measurement cell = at(x + 0.5, std::exp(log_best + (y + 0.5) / kCells * (log_worst - log_best)));
        inside += std::any_of(measured.begin(), measured.end(),
                              [&](const Measurement& m) { return complete(m) && dominates(m, cell); });
      }
    }
    RC_ASSERT(std::abs(find_front(measured).hypervolume - inside / (12.0 * kCells)) < 1.0 / kCells);
  }));
}

}  // namespace
}  // namespace kvpareto
