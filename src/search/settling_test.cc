#include "search/settling.h"

#include <gtest/gtest.h>

#include <cmath>

namespace kvpareto {
namespace {

constexpr Bounds kBox = {0, 10, std::log(1e-2), 0};

Measurement found(double bytes, const std::vector<double>& losses) {
  Measurement m;
  m.values["peak_bytes"] = {bytes, 0, 1};
  m.values["kld_mean"] = estimate(losses);
  m.texts["kld_mean"] = losses;
  return m;
}

TEST(FrontError, IsNoneIfTextsDifferForAllAlike) {
  const std::vector<Measurement> measured = {found(1, {0.4, 0.8}), found(5, {0.1, 0.2}), found(9, {0.02, 0.04})};
  EXPECT_NEAR(front_error(measured, kBox), 0, 1e-12);
}

TEST(FrontError, GrowsWithTheQuarrelOfTexts) {
  const std::vector<Measurement> little = {found(1, {0.4, 0.4}), found(5, {0.11, 0.1}), found(9, {0.02, 0.02})};
  const std::vector<Measurement> much = {found(1, {0.4, 0.4}), found(5, {0.3, 0.1}), found(9, {0.02, 0.02})};
  EXPECT_GT(front_error(little, kBox), 0);
  EXPECT_GT(front_error(much, kBox), 3 * front_error(little, kBox));
}

TEST(FrontError, NeedsTwoTextsThatAllHave) {
  EXPECT_TRUE(std::isinf(front_error({}, kBox)));
  EXPECT_TRUE(std::isinf(front_error(std::vector{found(1, {0.4})}, kBox)));
  EXPECT_TRUE(std::isinf(front_error(std::vector{found(1, {0.4, 0.5}), found(2, {0.4, 0.5, 0.6})}, kBox)));
}

TEST(Settling, WhenTheFrontStandsStill) {
  std::vector<Measurement> measured = {found(1, {0.4, 0.44}), found(5, {0.11, 0.1}), found(9, {0.02, 0.02})};
  EXPECT_FALSE(has_settled(measured, kBox, 3)) << "too few to tell";
  for (int i = 0; i < 3; ++i) measured.push_back(found(6, {0.3, 0.33}));  // dominated
  EXPECT_TRUE(has_settled(measured, kBox, 3));
  measured.push_back(found(3, {0.12, 0.12}));  // moves it far
  EXPECT_FALSE(has_settled(measured, kBox, 3));
  Measurement failed;
  failed.state = State::kFailed;
  measured.insert(measured.end(), 3, failed);
  EXPECT_TRUE(has_settled(measured, kBox, 3)) << "failures move nothing";
}

}  // namespace
}  // namespace kvpareto
