#include "search/recommend.h"

#include <gtest/gtest.h>

#include "search/verification.h"

namespace kvpareto {
namespace {

Measurement measured(const std::string& kv, double cost, const std::vector<double>& losses, double speed = 10) {
  Measurement m;
  m.point.kv = kv;
  m.values = {{"peak_bytes", {cost, 0, 1}}, {"kld_mean", estimate(losses)}, {"decode_ts", {speed, 0, 1}}};
  m.texts["kld_mean"] = losses;
  return m;
}

class Recommend : public ::testing::Test {
 protected:
  std::vector<Measurement> points_ = {
      measured("exact", 100, {0, 0, 0, 0}),
      measured("nearly", 60, {.010, .011, .009, .010}, 20),
      measured("alike", 58, {.0098, .0112, .0092, .0102}, 5),
      measured("good", 40, {.02, .021, .019, .02}),
      measured("unsure", 30, {.01, .01, .01, .3}),
      measured("broken", 10, {1, 1.1, .9, 1}),
  };
  std::string answer(const Limits& limits, Goal goal) const {
    const auto found = recommend(points_, find_front(points_), limits, goal, &points_.front());
    return found ? points_[*found].point.kv : "none";
  }
};

TEST_F(Recommend, BestQualityUnderABudget) {
  EXPECT_EQ(answer({.max_loss = 1, .most_bytes = 1000}, Goal::kBestQuality), "exact");
  // Of two of which the cheaper one surely loses hardly more, that.
  EXPECT_EQ(answer({.max_loss = 1, .most_bytes = 60}, Goal::kBestQuality), "alike");
  EXPECT_EQ(answer({.max_loss = 1, .most_bytes = 5}, Goal::kBestQuality), "none");
}

TEST_F(Recommend, LeastMemoryWithinALoss) {
  EXPECT_EQ(answer({.max_loss = .1}, Goal::kLeastMemory), "good");  // the interval of "unsure" reaches beyond
  EXPECT_EQ(answer({.max_loss = .015}, Goal::kLeastMemory), "alike");
  EXPECT_EQ(answer({.max_loss = .015, .min_speed = 15}, Goal::kLeastMemory), "nearly");
  EXPECT_EQ(answer({.max_loss = 5}, Goal::kLeastMemory), "broken");
}

TEST_F(Recommend, DropIsPairedWithTheBaseline) {
  points_[0].texts["needle"] = {1, 1, 1, 1, 0};
  points_[3].texts["needle"] = {1, 1, 1, 1, 0};
  points_[1].texts["needle"] = {1, 0, 1, 1, 0};
  EXPECT_EQ(task_drop(points_[0], points_[1]).value, 0.2);
  EXPECT_EQ(answer({.max_loss = 5, .max_drop = .01}, Goal::kLeastMemory), "good");
  points_[3].texts["needle"] = {0, 1, 1, 1, 0};
  EXPECT_EQ(answer({.max_loss = 5, .max_drop = .01}, Goal::kLeastMemory), "exact");
}

Measurement held_out(Measurement m, const std::vector<double>& losses) {
  m.values[kHeldOut] = estimate(losses);
  m.texts[kHeldOut] = losses;
  return m;
}

TEST(Verification, WhatHoldsUpStays) {
  const std::vector<Measurement> points = {held_out(measured("a", 3, {.01, .01}), {.02, .021}),
                                           held_out(measured("b", 2, {.02, .02}), {.04, .041}),
                                           measured("c", 1, {.05, .06})};
  for (const std::string& reason : failed_verification(points, .1)) EXPECT_EQ(reason, "");
}

TEST(Verification, WhatLosesTooMuchLeavesTheFront) {
  const std::vector<Measurement> points = {held_out(measured("a", 3, {.01, .01}), {.2, .21}),
                                           held_out(measured("b", 2, {.02, .02}), {.09, .12})};
  const auto after = verified(points, .1);
  EXPECT_EQ(after[0].state, State::kFailed);
  EXPECT_NE(after[0].reason.find("held-out"), std::string::npos);
  EXPECT_EQ(after[1].state, State::kDone);  // its interval holds the limit
  EXPECT_EQ(find_front(after).members, std::vector<size_t>{1});
}

TEST(Verification, WhatIsBeatenThereLeavesTheFront) {
  const std::vector<Measurement> points = {held_out(measured("a", 3, {.01, .01}), {.05, .052}),
                                           held_out(measured("b", 2, {.02, .02}), {.03, .031})};
  EXPECT_NE(failed_verification(points, .1)[0].find("w16_b_chunk256"), std::string::npos);
  EXPECT_EQ(failed_verification(points, .1)[1], "");
}

}  // namespace
}  // namespace kvpareto
