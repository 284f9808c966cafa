// The numerical core: moments, their factor, and rounding with what they know, on small random matrices.

#include "awq/round_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "awq/search_scales.h"
#include "awq/testing.h"
#include "base/parallel.h"
#include "base/random.h"

namespace kvpareto {
namespace {

TEST(SecondMoment, IsTheWeightedSumOfOuterProducts) {
  Random random(1);
  std::vector<float> x = correlated(random, 40), weights(40);
  for (float& weight : weights) weight = static_cast<float>(random.uniform());
  SecondMoment moment = moment_of(x, weights);
  for (const auto& [i, j] : std::vector<std::pair<size_t, size_t>>{{0, 0}, {0, 319}, {37, 74}, {5, 200}, {319, 319}}) {
    double wanted = 0, sizes = 0;
    for (size_t t = 0; t < 40; ++t) {
      const double term = double{weights[t]} * x[t * kColumns + i] * x[t * kColumns + j];
      wanted += term;
      sizes += std::abs(term);
    }
    EXPECT_NEAR(moment.matrix()[i * kColumns + j], wanted, 1e-5 * sizes);
  }
  EXPECT_NEAR(moment.tokens(), 20, 6);
}

TEST(SecondMoment, ShrinksByTheNumberOfTokens) {
  Random random(11);
  std::vector<float> x = correlated(random, 80);
  std::vector<float> weights(80, 0.25f);
  std::fill(weights.begin() + 40, weights.end(), 0.0f);  // as good as 40 tokens
  for (const bool weighted : {false, true}) {
    SecondMoment moment = moment_of(x, weighted ? weights : std::vector<float>());
    const std::vector<float> before(moment.matrix().begin(), moment.matrix().end());
    moment.shrink();
    const double kept = weighted ? 40.0 / (40 + kColumns) : 80.0 / (80 + kColumns);
    for (size_t i = 0; i < kColumns; i += 13) {
      for (size_t j = i; j < kColumns; j += 7) {
        const double wanted = before[i * kColumns + j] * (i == j ? 1 : kept);
        EXPECT_NEAR(moment.matrix()[i * kColumns + j], wanted, 1e-5 * std::abs(wanted));
      }
    }
  }
}

TEST(Factor, GivesTheMatrixBack) {
  Random random(2);
  std::vector<float> x = correlated(random, kTokens);
  SecondMoment moment = moment_of(x);
  const std::vector<float> h(moment.matrix().begin(), moment.matrix().end());
  double mean = 0;
  for (const float value : moment.diagonal()) mean += value / kColumns;
  const Factor factor(backend(), std::move(moment), 0.01);
  double worst = 0;
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = i; j < kColumns; ++j) {
      double sum = 0;
      for (int64_t k = j; k < kColumns; ++k) {
        const double left = k == i ? 1 : factor.row(i)[k], right = k == j ? 1 : factor.row(j)[k];
        sum += left * factor.pivots()[static_cast<size_t>(k)] * right;
      }
      const auto [a, b] = std::minmax(factor.order()[static_cast<size_t>(i)], factor.order()[static_cast<size_t>(j)]);
      const double wanted = h[static_cast<size_t>(a * kColumns + b)] + (i == j ? 0.01 * mean : 0);
      worst = std::max(worst, std::abs(sum - wanted));
    }
  }
  EXPECT_LT(worst, 1e-5 * 144 * 2 * kTokens);  // of the largest channels' squares
}

TEST(Factor, TakesTheLoudestColumnsFirst) {
  Random random(13);
  std::vector<float> x = correlated(random, kTokens);
  const std::vector<float> squares = moment_of(x).diagonal();
  const Factor factor(backend(), moment_of(x), 0.01);
  std::vector<int32_t> sorted(factor.order().begin(), factor.order().end());
  for (size_t i = 1; i < sorted.size(); ++i) {
    EXPECT_GE(squares[static_cast<size_t>(sorted[i - 1])], squares[static_cast<size_t>(sorted[i])]);
  }
  std::sort(sorted.begin(), sorted.end());
  for (int32_t i = 0; i < kColumns; ++i) EXPECT_EQ(sorted[static_cast<size_t>(i)], i);
}

TEST(Factor, SolvesWhatTheMatrixMade) {
  Random random(14);
  std::vector<float> x = correlated(random, kTokens);
  const std::vector<float> wanted = normal_weights(random);
  SecondMoment moment = moment_of(x);
  const std::vector<float> h(moment.matrix().begin(), moment.matrix().end());
  double mean = 0;
  for (const float value : moment.diagonal()) mean += value / kColumns;
  std::vector<float> product(wanted.size());
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      double sum = 0.1 * mean * wanted[r * kColumns + c];
      for (size_t k = 0; k < kColumns; ++k)
        sum += double{wanted[r * kColumns + k]} * h[std::min(k, c) * kColumns + std::max(k, c)];
      product[r * kColumns + c] = static_cast<float>(sum);
    }
  }
  const std::vector<float> got = Factor(backend(), std::move(moment), 0.1).solve(product);
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, double{std::abs(got[i] - wanted[i])});
  EXPECT_LT(worst, 1e-3 * 0.05);  // of a weight; the condition is some 5000
}

TEST(CrossMoment, RegressionFindsWhatInputsTellOfADrift) {
  Random random(15);
  const int64_t tokens = 4 * kTokens;
  std::vector<float> x = correlated(random, tokens), weights;
  std::vector<float> truth = normal_weights(random), a(static_cast<size_t>(tokens * kRows)), b(a.size());
  for (int64_t t = 0; t < tokens; ++t) {
    weights.push_back(static_cast<float>(0.5 + random.uniform()));
    for (int64_t r = 0; r < kRows; ++r) {
      double told = 0;
      for (int64_t c = 0; c < kColumns; ++c)
        told += double{truth[static_cast<size_t>(r * kColumns + c)]} * x[static_cast<size_t>(t * kColumns + c)];
      const auto place = static_cast<size_t>(t * kRows + r);
      b[place] = static_cast<float>(random.normal());
      a[place] = b[place] + static_cast<float>(told + 0.1 * random.normal());
    }
  }
  CrossMoment cross(backend(), kRows, kColumns);
  cross.add(tensor(a.data(), tokens, kRows), tensor(b.data(), tokens, kRows), tensor(x.data(), tokens, kColumns),
            weights);
  const std::vector<float> found = Factor(backend(), moment_of(x, weights), 1e-6).solve(cross.take_matrix());
  double error = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    error += std::pow(found[i] - truth[i], 2);
    size += std::pow(truth[i], 2);
  }
  EXPECT_LT(error, 0.02 * size);
}

TEST(Factor, TellsTheOutputError) {
  Random random(3);
  std::vector<float> x = correlated(random, kTokens);
  std::vector<float> error = normal_weights(random);
  Factor factor(backend(), moment_of(x), 1e-7);
  const double wanted = output_squares(error, x);
  EXPECT_NEAR(factor.output_error(error), wanted, 1e-3 * wanted);
  // Inputs divided and errors multiplied by the same scales.
  std::vector<float> scales(kColumns);
  for (float& scale : scales) scale = static_cast<float>(0.25 + 3 * random.uniform());
  factor.rescale(scales);
  for (size_t i = 0; i < error.size(); ++i) error[i] *= scales[i % kColumns];
  EXPECT_NEAR(factor.output_error(error), wanted, 1e-3 * wanted);
  // Of one column alone, which nothing makes up for.
  for (const size_t c : {0, 37, 255}) {
    std::vector<float> single(kColumns);
    single[c] = 1;
    const double whole = factor.importance(false)[c];
    EXPECT_NEAR(factor.output_error(single), whole, 1e-3 * whole);
    EXPECT_LE(factor.importance(true)[c], 1.001 * whole);
  }
}

TEST(Factor, ChannelsWithoutInputAreNoHole) {
  std::vector<float> x(static_cast<size_t>(20 * kColumns));
  const Factor empty(backend(), moment_of(x), 0.01);
  for (const float pivot : empty.pivots()) EXPECT_EQ(pivot, 1);
}

TEST(FitGroup, ZeroIsAlwaysExactAndEndsAreReached) {
  for (const auto codec : {WeightCodec::kInt8, WeightCodec::kInt4, WeightCodec::kInt3}) {
    const WeightFormat format{codec, 32};
    std::vector<float> values(32, 0.5f);
    values[3] = 2.0f;
    const GroupRange range = fit_group(format, values.data(), nullptr, 32);
    EXPECT_NEAR(to_float(range.scale), codec == WeightCodec::kInt8 ? 2.0 / 127 : 2.0 / ((1 << format.bits()) - 1),
                1e-3);
    EXPECT_EQ(range.zero, codec == WeightCodec::kInt8 ? 128 : 0);
    const std::vector<float> zeros(32, 0.0f);
    EXPECT_EQ(fit_group(format, zeros.data(), nullptr, 32).inverse, 0);
  }
}

TEST(FitGroup, ClippingLowersTheWeightedError) {
  Random random(5);
  const WeightFormat format{WeightCodec::kInt3, 128};
  std::vector<float> values(128), importance(128, 1.0f);
  for (float& value : values) value = static_cast<float>(random.normal());
  values[7] = 6;
  importance[7] = 1e-6f;
  const GroupRange clipped = fit_group(format, values.data(), importance.data(), 128);
  const GroupRange whole = fit_group(format, values.data(), nullptr, 128);
  EXPECT_LT(to_float(clipped.scale), 0.8f * to_float(whole.scale));
}

TEST(RoundWeights, CompensationAndScalesLowerTheErrorOnInputsNeverSeen) {
  Random random(4);
  std::vector<float> x = correlated(random, kTokens), held_out = correlated(random, 200);
  const std::vector<float> weights = normal_weights(random);
  for (const auto codec : {WeightCodec::kInt4, WeightCodec::kInt3}) {
    const WeightFormat format{codec, 64};
    SecondMoment moment = moment_of(x);
    const std::vector<float> squares = moment.diagonal();
    Factor factor(backend(), std::move(moment), 0.01);
    const double plain = output_squares(difference(round_plainly(weights, kColumns, format), weights), held_out);
    const auto compensated = round_weights(backend(), weights, format, factor, {.compensate = true, .clip = false});
    const double better = output_squares(difference(compensated, weights), held_out);
    EXPECT_LT(better, 0.7 * plain);

    const ScaledLinear linear{weights, format};
    const ChannelScales found = search_scales({&linear, 1}, factor.importance(false), squares);
    EXPECT_GT(found.exponent, 0);
    std::vector<float> scaled = weights;
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= found.scales[i % kColumns];
    factor.rescale(found.scales);
    const auto rounded = round_weights(backend(), scaled, format, factor, {.compensate = false, .clip = false});
    std::vector<float> error = difference(rounded, scaled);
    for (size_t i = 0; i < error.size(); ++i) error[i] /= found.scales[i % kColumns];
    EXPECT_LT(output_squares(error, held_out), 0.7 * plain);
  }
}

// With hardly more tokens than channels, feedback follows what is chance among them.
TEST(RoundWeights, ShrinkingLowersTheErrorOnInputsNeverSeen) {
  Random random(12);
  std::vector<float> x = correlated(random, kColumns * 3 / 2), held_out = correlated(random, 400);
  const std::vector<float> weights = normal_weights(random);
  const WeightFormat format{WeightCodec::kInt4, 64};
  const auto error = [&](bool shrunk) {
    SecondMoment moment = moment_of(x);
    if (shrunk) moment.shrink();
    const Factor factor(backend(), std::move(moment), 0.01);
    return output_squares(difference(round_weights(backend(), weights, format, factor, {true, false}), weights),
                          held_out);
  };
  EXPECT_LT(error(true), error(false));
}

TEST(RoundWeights, RowsAreDividedByTheirScales) {
  Random random(16);
  const std::vector<float> weights = normal_weights(random);
  const RoundedWeights before = round_plainly(weights, kColumns, {WeightCodec::kInt4, 64});
  RoundedWeights after = before;
  std::vector<float> by;
  for (int64_t r = 0; r < kRows; ++r) by.push_back(static_cast<float>(0.25 + 3 * random.uniform()));
  after.divide_rows(by);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; c += 7) {
      const double wanted = before.value(r, c) / by[static_cast<size_t>(r)];
      EXPECT_NEAR(after.value(r, c), wanted, std::abs(wanted) / 2048 + 1e-7);  // f16
    }
  }
}

TEST(RoundWeights, SameCodesWithAnyNumberOfThreads) {
  Random random(6);
  std::vector<float> x = correlated(random, kTokens);
  const std::vector<float> weights = normal_weights(random);
  const Factor factor(backend(), moment_of(x), 0.01);
  const WeightFormat format{WeightCodec::kInt4, 32};
  const int before = thread_count();
  set_thread_count(1);
  const RoundedWeights one = round_weights(backend(), weights, format, factor, {});
  set_thread_count(3);
  const RoundedWeights three = round_weights(backend(), weights, format, factor, {});
  set_thread_count(before);
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.zeros, three.zeros);
}

TEST(RoundWeights, PlainRoundingStaysWithinHalfAStep) {
  Random random(7);
  const std::vector<float> weights = normal_weights(random);
  for (const auto codec : {WeightCodec::kInt8, WeightCodec::kInt4, WeightCodec::kInt3}) {
    const RoundedWeights rounded = round_plainly(weights, kColumns, {codec, 64});
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kColumns; ++c) {
        const float step = to_float(rounded.scales[static_cast<size_t>(r * rounded.groups() + c / 64)]);
        // The zero point is rounded too: an end may lie half a step outside.
        EXPECT_NEAR(rounded.value(r, c), weights[static_cast<size_t>(r * kColumns + c)], 1.01 * step);
      }
    }
  }
}

}  // namespace
}  // namespace kvpareto
