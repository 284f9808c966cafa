#include "search/confidence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "search/front.h"

namespace kvpareto {
namespace {

Measurement measured(double cost, const std::vector<double>& losses) {
  Measurement m;
  m.values = {{"peak_bytes", {cost, 0, 1}}, {"kld_mean", estimate(losses)}};
  m.texts["kld_mean"] = losses;
  return m;
}

TEST(FrontConfidence, IsSureWhereTextsAgree) {
  const std::vector<Measurement> points = {measured(3, {.01, .012, .011, .009}), measured(2, {.1, .11, .12, .1}),
                                           measured(2.5, {.2, .22, .21, .2}), measured(1, {1, 1.1, .9, 1})};
  const FrontConfidence sure = front_confidence(points);
  EXPECT_EQ(sure.texts, 4);
  const double probabilities[] = {1, 1, 0, 1};
  for (size_t i = 0; i < points.size(); ++i) EXPECT_NEAR(sure.on_front[i], probabilities[i], 1e-9);
  const Front front = find_front(points);
  EXPECT_LE(sure.hypervolume.low, front.hypervolume);
  EXPECT_GE(sure.hypervolume.high, front.hypervolume);
  EXPECT_GT(sure.knee_share, 0.5);
  EXPECT_LE(sure.knee_cost.low, points[front.knee].value("peak_bytes"));
  EXPECT_GE(sure.knee_cost.high, points[front.knee].value("peak_bytes"));
}

TEST(FrontConfidence, IsUnsureWhereTextsDisagree) {
  // The second is better on three texts of four, by as much as it is worse on the other: a toss.
  const std::vector<Measurement> points = {measured(1, {1, 1, 1, 1}), measured(2, {.9, .9, .9, 1.25})};
  const double toss = front_confidence(points).on_front[1];
  EXPECT_GT(toss, 0.3);
  EXPECT_LT(toss, 0.9);
}

TEST(FrontConfidence, IsPairedByText) {
  // Hard and easy texts: apart the errors overlap by far, on the same texts the second is always a little better.
  const Measurement a = measured(1, {.1, 1, 3, 9}), b = measured(2, {.099, .99, 2.97, 8.9});
  EXPECT_GT(front_confidence(std::vector<Measurement>{a, b}).on_front[1], 0.999);
  EXPECT_LT(errors_apart(a, b), 0);
}

TEST(FrontConfidence, OneTextTellsNothingOfErrors) {
  const std::vector<Measurement> points = {measured(1, {1}), measured(2, {.5})};
  const FrontConfidence sure = front_confidence(points);
  EXPECT_EQ(sure.texts, 1);
  EXPECT_EQ(sure.on_front, (std::vector<double>{1, 1}));
}

TEST(FrontConfidence, WhatFailedIsNeverOnIt) {
  std::vector<Measurement> points = {measured(1, {1, 1}), measured(2, {.5, .5}), measured(0.5, {.1, .1})};
  points[2].state = State::kFailed;
  const FrontConfidence sure = front_confidence(points);
  EXPECT_EQ(sure.on_front, (std::vector<double>{1, 1, 0}));
  EXPECT_TRUE(front_confidence({}).on_front.empty());
}

TEST(ErrorsApart, CountsStandardErrorsOfTheDifference) {
  EXPECT_NEAR(errors_apart(measured(1, {1, 2, 3}), measured(1, {2, 3.1, 3.9})), 1 / (0.1 / std::sqrt(3)), 1e-9);
  EXPECT_EQ(errors_apart(measured(1, {1}), measured(1, {1})), 0);
  EXPECT_TRUE(std::isinf(errors_apart(measured(1, {1}), measured(1, {2}))));
}

}  // namespace
}  // namespace kvpareto
