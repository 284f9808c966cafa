#include "study/comparison.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace kvpareto {
namespace {

Measurement scored(const std::vector<std::string>& samples, const std::vector<double>& scores) {
  Measurement m;
  m.samples["mmlu"] = samples;
  m.texts["mmlu"] = scores;
  m.texts["mmlu_nll"] = scores;
  return m;
}

const Figure& mmlu() { return *find_figure("mmlu"); }

TEST(Comparison, PairsTheSameSamplesWhereverTheyStand) {
  const Measurement baseline = scored({"a", "b", "c", "d"}, {1, 0, 1, 1});
  const Measurement candidate = scored({"d", "x", "b", "a"}, {0, 1, 0, 1});
  const auto found = compare(baseline, candidate, mmlu());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->difference.samples, 3);
  EXPECT_DOUBLE_EQ(found->difference.value, -1.0 / 3);
  EXPECT_EQ(found->regressions, std::vector<std::string>{"d"});
  EXPECT_EQ(found->improved, 0);
  EXPECT_TRUE(found->tie());
}

TEST(Comparison, WorseIsMoreWhereLessIsBetter) {
  const Measurement baseline = scored({"a", "b", "c"}, {1, 1, 1}), candidate = scored({"a", "b", "c"}, {1.5, 3, 0});
  const auto found = compare(baseline, candidate, *find_figure("mmlu_nll"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->regressions, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(found->improved, 1);
}

TEST(Comparison, EqualScoresAreATieAndAClearLossIsNone) {
  std::vector<std::string> names;
  std::vector<double> before, after;
  for (int i = 0; i < 40; ++i) {
    names.push_back(std::to_string(i));
    before.push_back(i % 2);
    after.push_back(i % 6 == 1 ? 0 : i % 2);
  }
  EXPECT_TRUE(compare(scored(names, before), scored(names, before), mmlu())->tie());
  const auto lost = compare(scored(names, before), scored(names, after), mmlu());
  EXPECT_FALSE(lost->tie());
  EXPECT_LT(lost->interval.high, 0);
  EXPECT_NEAR(lost->deviation, std::sqrt(0.175 * 0.825 * 40 / 39), 1e-12);
}

// What pairing is for: noise that both share drops out.
TEST(Comparison, PairingFindsWhatSingleScoresHide) {
  Random random(1);
  std::vector<std::string> names;
  std::vector<double> before, after;
  for (int i = 0; i < 30; ++i) {
    names.push_back(std::to_string(i));
    before.push_back(5 * random.normal());
    after.push_back(before.back() + 0.1 + 0.1 * random.normal());
  }
  const Measurement a = scored(names, before), b = scored(names, after);
  const Figure& figure = *find_figure("mmlu_nll");
  EXPECT_FALSE(compare(a, b, figure)->tie());
  EXPECT_GT(estimate(before).standard_error, 5 * std::abs(estimate(after).value - estimate(before).value));
}

TEST(Comparison, TextsPairByPlaceAndTasksNever) {
  Measurement a, b;
  a.texts["kld_mean"] = {0, 0};
  b.texts["kld_mean"] = {0.5, 0.25};
  EXPECT_DOUBLE_EQ(compare(a, b, *find_figure("kld_mean"))->difference.value, 0.375);
  a.texts["mmlu"] = b.texts["mmlu"] = {1, 0};
  EXPECT_FALSE(compare(a, b, mmlu())) << "scores without names of samples cannot be paired";
  EXPECT_FALSE(compare(scored({"a"}, {1}), scored({"b"}, {1}), mmlu()));
  EXPECT_FALSE(compare(Measurement(), Measurement(), mmlu()));
  const auto one = compare(scored({"a"}, {1}), scored({"a"}, {0}), mmlu());
  EXPECT_EQ(one->deviation, 0);
  EXPECT_TRUE(one->tie()) << "one sample tells nothing, though its interval is a point";
}

}  // namespace
}  // namespace kvpareto
