#include "base/statistics.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace kvpareto {
namespace {

TEST(Statistics, EstimateOfKnownValues) {
  const std::vector<double> values = {2, 4, 4, 4, 5, 5, 7, 9};
  const Estimate e = estimate(values);
  EXPECT_DOUBLE_EQ(e.value, 5);
  EXPECT_DOUBLE_EQ(e.standard_error, std::sqrt(32.0 / 7 / 8));
  EXPECT_EQ(e.samples, 8);
}

TEST(Statistics, OneSampleTellsNothingOfItsError) {
  const std::vector<double> one = {3};
  EXPECT_EQ(estimate(one).value, 3);
  EXPECT_TRUE(std::isnan(estimate(one).standard_error));
}

TEST(Statistics, NothingHasNoMean) {
  EXPECT_THROW(mean({}), std::invalid_argument);
  EXPECT_THROW(estimate({}), std::invalid_argument);
  EXPECT_THROW(quantile({}, 0.5), std::invalid_argument);
}

TEST(Statistics, QuantileInterpolates) {
  const std::vector<double> values = {40, 10, 30, 20};
  EXPECT_EQ(quantile(values, 0), 10);
  EXPECT_EQ(quantile(values, 1), 40);
  EXPECT_DOUBLE_EQ(quantile(values, 0.5), 25);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 37);
  EXPECT_EQ(quantile(values, -3), 10);
  EXPECT_EQ(quantile(values, 3), 40);
}

TEST(Statistics, QuantileLiesWithinAndGrows) {
  EXPECT_TRUE(rc::check("quantiles are ordered and within the values", [] {
    const auto whole = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-1000, 1000)));
    const std::vector<double> values(whole.begin(), whole.end());
    const double low = *rc::gen::inRange(0, 101) / 100.0, high = *rc::gen::inRange(0, 101) / 100.0;
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    RC_ASSERT(quantile(values, std::min(low, high)) <= quantile(values, std::max(low, high)));
    RC_ASSERT(quantile(values, low) >= *least && quantile(values, low) <= *most);
  }));
}

// The standard error promises how far means of fresh samples scatter: check it against such means.
TEST(Statistics, StandardErrorIsTheScatterOfMeans) {
  Random random(7);
  std::vector<double> means;
  double promised = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<double> sample(25);
    for (double& x : sample) x = 10 + 3 * random.normal();
    const Estimate e = estimate(sample);
    means.push_back(e.value);
    promised += e.standard_error / 2000;
  }
  const double scatter = estimate(means).standard_error * std::sqrt(2000.0);
  EXPECT_NEAR(scatter, 0.6, 0.03);
  EXPECT_NEAR(promised, 0.6, 0.03);
}

// Of normal values the bootstrap's interval is that of the mean, 1.96 standard errors either way.
TEST(Bootstrap, IsTheIntervalOfTheMean) {
  Random random(7);
  std::vector<double> values(400);
  for (double& v : values) v = 3 + 2 * random.normal();
  const Estimate known = estimate(values);
  const Interval found = bootstrap_interval(values);
  EXPECT_NEAR(found.low, known.value - 1.96 * known.standard_error, 0.1 * known.standard_error);
  EXPECT_NEAR(found.high, known.value + 1.96 * known.standard_error, 0.1 * known.standard_error);
  const Interval again = bootstrap_interval(values);
  EXPECT_EQ(found.low, again.low);
  EXPECT_EQ(found.high, again.high);
}

// Of many sets of 60 coin flips, the interval misses the truth about one time in twenty.
TEST(Bootstrap, CoversTheTruthAsOftenAsItSays) {
  Random random(3);
  int covered = 0;
  constexpr int kSets = 300;
  for (int set = 0; set < kSets; ++set) {
    std::vector<double> flips(60);
    for (double& flip : flips) flip = random.uniform() < 0.3 ? 1 : 0;
    const Interval found = bootstrap_interval(flips);
    covered += found.low <= 0.3 && 0.3 <= found.high;
  }
  EXPECT_GE(covered, 0.90 * kSets);
  EXPECT_LE(covered, 0.99 * kSets);
}

TEST(Bootstrap, FewValues) {
  const Interval one = bootstrap_interval(std::vector<double>{2});
  EXPECT_EQ(one.low, 2);
  EXPECT_EQ(one.high, 2);
  EXPECT_THROW(bootstrap_interval({}), std::invalid_argument);
}

// So many samples do tell the difference four times of five.
TEST(SamplesNeeded, FindTheDifferenceFourTimesOfFive) {
  EXPECT_EQ(samples_needed(0.5, 0.01), 19623);  // (2.801585 * 50)^2
  EXPECT_EQ(samples_needed(0, 0.01), 2);
  const int64_t n = samples_needed(1, 0.3);
  Random random(11);
  int found = 0;
  constexpr int kTries = 2000;
  for (int i = 0; i < kTries; ++i) {
    std::vector<double> values(static_cast<size_t>(n));
    for (double& v : values) v = 0.3 + random.normal();
    const Estimate e = estimate(values);
    found += e.value > 1.96 * e.standard_error;
  }
  EXPECT_NEAR(found / static_cast<double>(kTries), 0.8, 0.04);
}

}  // namespace
}  // namespace kvpareto
