#include "quant/codec.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace kvpareto {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargestF16 = 65504.0f;
constexpr size_t kGuard = 8;

std::vector<CodecInfo> integer_codecs() {
  std::vector<CodecInfo> codecs;
  std::copy_if(kCodecs.begin(), kCodecs.end(), std::back_inserter(codecs), [](auto c) { return has_scale(c.codec); });
  return codecs;
}
int levels_of(const CodecInfo& info) { return (1 << info.bits) - 1; }

struct Coded {
  GroupFit fit;
  std::vector<float> values;  // decoded
};

Coded through(const std::vector<float>& group, int levels) {
  const auto [low, high] = std::minmax_element(group.begin(), group.end());
  Coded coded{fit_group(*low, *high, levels), {}};
  const float scale = to_float(coded.fit.scale), minimum = to_float(coded.fit.minimum);
  for (const float x : group) {
    const uint8_t code = encode_value(x, minimum, scale > 0 ? 1.0f / scale : 0.0f, levels);
    EXPECT_LE(code, levels);
    coded.values.push_back(minimum + scale * static_cast<float>(code));
  }
  return coded;
}

// Rounding a float of this size to f16: half a unit of its 11 digits, or of the subnormal grid 2^-24.
double f16_rounding(double x) { return std::max(std::abs(x) * 0x1.0p-11, 0x1.0p-25); }

// Half a step, plus what storing minimum and scale as f16 costs: the minimum once, the scale once for every level, plus
// a few roundings of f32 arithmetic on numbers of the group's size.
void expect_within_half_a_step(const std::vector<float>& group, int levels) {
  const auto [low, high] = std::minmax_element(group.begin(), group.end());
  const Coded coded = through(group, levels);
  const double exact_scale = (static_cast<double>(*high) - to_float(coded.fit.minimum)) / levels;
  const double size = std::max(std::abs(*low), std::abs(*high));
  const double bound =
      to_float(coded.fit.scale) / 2.0 + levels * f16_rounding(exact_scale) + f16_rounding(*low) + size * 0x1.0p-21;
  for (size_t i = 0; i < group.size(); ++i) ASSERT_NEAR(coded.values[i], group[i], bound) << "levels " << levels;
}

std::vector<float> normals(Random& random, size_t n, double size, double mean) {
  std::vector<float> group(n);
  for (float& x : group) x = static_cast<float>(mean + size * random.normal());
  return group;
}

TEST(Codecs, ListIsIndexedByTheEnumeration) {
  for (size_t i = 0; i < kCodecs.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(kCodecs[i].codec), i);
    EXPECT_EQ(bits_of(kCodecs[i].codec), kCodecs[i].bits);
    EXPECT_EQ(chunk_bytes(kCodecs[i].codec), static_cast<size_t>(kCodecs[i].bits) * 8);
  }
}

RC_GTEST_PROP(Codecs, CodesComeBackInAnyOrderAndNothingElseIsWritten, (uint64_t seed)) {
  const CodecInfo info = *rc::gen::elementOf(integer_codecs());
  const auto codes = *rc::gen::container<std::vector<uint8_t>>(kChunk, rc::gen::inRange<uint8_t>(0, 255));
  std::vector<int> order(kChunk);
  std::iota(order.begin(), order.end(), 0);
  Random random(seed);
  for (int i = kChunk - 1; i > 0; --i) std::swap(order[i], order[random.below(static_cast<uint64_t>(i + 1))]);

  // Every code is put twice: what stood there before must go.
  std::vector<uint8_t> packed(chunk_bytes(info.codec) + kGuard, 0xa5);
  for (const int at : order) put_code(info.codec, packed.data(), at, static_cast<uint8_t>(levels_of(info)));
  for (const int at : order)
    put_code(info.codec, packed.data(), at, static_cast<uint8_t>(codes[static_cast<size_t>(at)] & levels_of(info)));
  for (int at = 0; at < kChunk; ++at)
    RC_ASSERT(code_at(info.codec, packed.data(), at) == (codes[static_cast<size_t>(at)] & levels_of(info)));
  RC_ASSERT(std::count(packed.end() - kGuard, packed.end(), 0xa5) == static_cast<int>(kGuard));
}

// The layout that the header states, which other backends rely on.
TEST(Codecs, LayoutIsAsStated) {
  uint8_t packed[kChunk] = {};
  const auto put = [&](Codec codec, int at, uint8_t code) { put_code(codec, packed, at, code); };
  put(Codec::kInt8, 63, 200);
  EXPECT_EQ(packed[63], 200);
  put(Codec::kInt4, 3, 5);
  put(Codec::kInt4, 35, 9);
  EXPECT_EQ(packed[3], 0x95);
  std::fill(packed, packed + kChunk, uint8_t{0});
  put(Codec::kInt2, 21, 2);
  put(Codec::kInt2, 63, 3);
  EXPECT_EQ(packed[5], 2 << 2);
  EXPECT_EQ(packed[15], 3 << 6);
  put(Codec::kInt3, 17, 5);
  EXPECT_EQ(packed[1], 1 << 2);
  EXPECT_EQ(packed[18], 1 << 1);  // third bit of code 17, behind the others
}

RC_GTEST_PROP(Codecs, ValuesComeBackWithinHalfAStep, (uint64_t seed)) {
  Random random(seed);
  const int levels = levels_of(*rc::gen::elementOf(integer_codecs()));
  const size_t n = 32 << random.below(4);
  const double size = std::exp2(static_cast<double>(random.below(40)) - 30), mean = size * (20 * random.uniform() - 10);
  expect_within_half_a_step(normals(random, n, size, mean), levels);
}

TEST(Codecs, WildGroupsComeBackWithinHalfAStep) {
  Random random(2);
  for (const CodecInfo& info : integer_codecs()) {
    const int levels = levels_of(info);
    std::vector<std::vector<float>> groups = {
        std::vector<float>(32, 0.0f),      std::vector<float>(64, 3.1415f),     std::vector<float>(32, -1000.3f),
        std::vector<float>(32, 1e-40f),    std::vector<float>(32, -0x1.0p-26f), normals(random, 128, 1e-3, -500),
        normals(random, 64, 1e-42, 1e-41), normals(random, 64, 1e-7, 0),        normals(random, 32, 8000, 0),
        normals(random, 32, 100, 40000),   normals(random, 64, 0.1, 60000),     normals(random, 64, 1, -1)};
    groups.push_back(normals(random, 64, 1, 0));
    groups.back()[17] = 900;  // one outlier takes the whole scale
    groups.push_back(normals(random, 64, 1e-3, 0));
    groups.back()[63] = -60000;
    for (const auto& group : groups) expect_within_half_a_step(group, levels);
  }
}

TEST(Codecs, ConstantsThatF16HoldsAreExact) {
  for (const CodecInfo& info : integer_codecs()) {
    for (const float x : {0.0f, 1.0f, -0.25f, 65504.0f, -65504.0f, 0x1.0p-24f}) {
      const Coded coded = through(std::vector<float>(32, x), levels_of(info));
      EXPECT_EQ(std::count(coded.values.begin(), coded.values.end(), x), 32) << x;
    }
  }
}

// The bytes of a group must not depend on which of its zeros has a sign, since a vector minimum may pick either.
TEST(Codecs, ZerosOfBothSignsFitAlike) {
  for (const float high : {0.0f, -0.0f, 2.0f}) {
    EXPECT_EQ(fit_group(-0.0f, high, 15).minimum.bits, fit_group(0.0f, high, 15).minimum.bits);
    EXPECT_EQ(fit_group(-0.0f, high, 15).scale.bits, fit_group(0.0f, high, 15).scale.bits);
  }
}

// Past f16 minimum and scale are clamped: values stay finite, in the range of the group's codes and in order.
TEST(Codecs, ValuesBeyondF16AreClampedInOrder) {
  const float most = std::numeric_limits<float>::max();
  for (const CodecInfo& info : integer_codecs()) {
    const int levels = levels_of(info);
    for (const auto& group : std::vector<std::vector<float>>{{-most, 0, most},
                                                             {-kInfinity, -1, 1, kInfinity},
                                                             {-kInfinity, -kInfinity},
                                                             {kInfinity, kInfinity},
                                                             {1e6f, 2e6f},
                                                             {-3e9f, -2e9f},
                                                             {0, 1, 1e9f}}) {
      const Coded coded = through(group, levels);
      const float low = to_float(coded.fit.minimum), scale = to_float(coded.fit.scale);
      ASSERT_TRUE(std::abs(low) <= kLargestF16 && scale >= 0 && scale <= kLargestF16) << low << " " << scale;
      EXPECT_TRUE(std::is_sorted(coded.values.begin(), coded.values.end()));
      for (const float x : coded.values) EXPECT_TRUE(x >= low && x <= low + scale * static_cast<float>(levels)) << x;
    }
    // A scale of f16 reaches far with many levels: 8 bits hold a million.
    const Coded wide = through({0, 1e6f}, 255);
    EXPECT_NEAR(wide.values[1], 1e6f, 1e6 * 0x1.0p-11);
  }
}

double squared_error_of(const std::vector<float>& group, const GroupFit& fit, int levels) {
  const float scale = to_float(fit.scale), minimum = to_float(fit.minimum);
  double sum = 0;
  for (const float x : group) {
    const double off = x - (minimum + scale * static_cast<float>(encode_value(x, minimum, inverse_of(scale), levels)));
    sum += off * off;
  }
  return sum;
}

// The fit of least squares is found among candidates that hold the range itself, so it never loses; with few codes and
// a bell of values it gains a fifth and more.
RC_GTEST_PROP(Fits, SquaresNeverLoseToTheRange, (uint64_t seed)) {
  Random random(seed);
  const int levels = levels_of(*rc::gen::elementOf(integer_codecs()));
  const size_t n = 32 << random.below(3);
  const double size = std::exp2(static_cast<double>(random.below(20)) - 10), mean = size * (8 * random.uniform() - 4);
  const std::vector<float> group = normals(random, n, size, mean);
  const auto [low, high] = std::minmax_element(group.begin(), group.end());
  const double range = squared_error_of(group, fit_group(*low, *high, levels), levels);
  const double squares =
      squared_error_of(group, fit_squares(group.data(), static_cast<int>(n), *low, *high, levels), levels);
  RC_ASSERT(squares <= range * (1 + 1e-4));
}

TEST(Fits, SquaresGainWhereCodesAreFew) {
  Random random(3);
  for (const auto& [levels, most] : {std::pair(3, 0.75), std::pair(7, 0.85), std::pair(15, 0.95)}) {
    double range = 0, squares = 0;
    for (int i = 0; i < 200; ++i) {
      const std::vector<float> group = normals(random, 64, 1, 0.5);
      const auto [low, high] = std::minmax_element(group.begin(), group.end());
      range += squared_error_of(group, fit_group(*low, *high, levels), levels);
      squares += squared_error_of(group, fit_squares(group.data(), 64, *low, *high, levels), levels);
    }
    EXPECT_LT(squares, most * range) << levels;
  }
}

// Zero is a code of its own, and what ggml's q8_0 and q4_0 give.
TEST(Fits, SymmetricGroupsHoldZeroExactly) {
  Random random(4);
  for (const int levels : {255, 15}) {
    std::vector<float> group = normals(random, 32, 3, 1);
    group[7] = 0;
    const auto [low, high] = std::minmax_element(group.begin(), group.end());
    const GroupFit fit = fit_symmetric(*low, *high, levels);
    const float scale = to_float(fit.scale), minimum = symmetric_minimum(scale, levels);
    EXPECT_EQ(minimum + scale * static_cast<float>(encode_value(0, minimum, inverse_of(scale), levels)), 0);
    const float far = std::abs(*high) >= std::abs(*low) ? *high : *low;
    const float wanted = levels == 255 ? std::abs(far) / 127 : far / -8;
    EXPECT_NEAR(scale, wanted, std::abs(wanted) * 0x1.0p-10);
    for (const float x : group) {
      const float value = minimum + scale * static_cast<float>(encode_value(x, minimum, inverse_of(scale), levels));
      // q4_0 reaches seven steps on the side that its largest value is not on.
      EXPECT_NEAR(value, x, std::abs(scale) * (levels == 255 ? 0.51 : 1.01));
    }
  }
  EXPECT_EQ(to_float(fit_symmetric(0, 0, 15).scale), 0);
  EXPECT_FALSE(std::signbit(to_float(fit_symmetric(-0.0f, 0, 15).scale)));
}

// A NaN among numbers becomes the minimum; as a bound of the group it makes the group NaN. Neither is undefined
// behaviour.
TEST(Codecs, NanIsContained) {
  for (const CodecInfo& info : integer_codecs()) {
    const int levels = levels_of(info);
    EXPECT_EQ(encode_value(kNan, -1.0f, 5.0f, levels), 0);
    EXPECT_EQ(encode_value(1.0f, kNan, 5.0f, levels), 0);
    EXPECT_EQ(encode_value(kInfinity, 0.0f, 0.0f, levels), 0);
    EXPECT_TRUE(std::isnan(to_float(fit_group(kNan, 1.0f, levels).minimum)));
    EXPECT_EQ(to_float(fit_group(kNan, 1.0f, levels).scale), 0);
    EXPECT_EQ(to_float(fit_group(0.0f, kNan, levels).scale), 0);
  }
}

}  // namespace
}  // namespace kvpareto
