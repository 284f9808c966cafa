// bf16 and f16 against the compiler's own half type and against neighbours on the grid, for every pattern there is.

#include "tensor/float_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace kvpareto {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }
bool is_nan(f16 x) { return (x.bits & 0x7fffu) > 0x7c00u; }
bool is_nan(bf16 x) { return (x.bits & 0x7fffu) > 0x7f80u; }

void expect_f16_of(float x) {
  const auto wanted = std::bit_cast<uint16_t>(static_cast<_Float16>(x));
  const f16 found = to_f16(x);
  if (std::isnan(x)) {
    EXPECT_TRUE(is_nan(found)) << std::hex << std::bit_cast<uint32_t>(x);
  } else {
    EXPECT_EQ(found.bits, wanted) << std::hexfloat << x;
  }
}

TEST(F16, EveryPatternBecomesTheCompilersFloatAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const f16 half{static_cast<uint16_t>(bits)};
    const float found = to_float(half), wanted = static_cast<float>(std::bit_cast<_Float16>(half.bits));
    if (is_nan(half)) {
      ASSERT_TRUE(std::isnan(found)) << bits;
      ASSERT_TRUE(is_nan(to_f16(found))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(wanted)) << bits;
    ASSERT_EQ(to_f16(found).bits, half.bits);
  }
}

TEST(F16, RoundsAsTheCompilerBesideEveryMidpoint) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float low = to_float(f16{static_cast<uint16_t>(bits)});
    // Past the largest number the midpoint is that to the next power of two, from which on the result is infinite.
    const float high = bits == 0x7bff ? 65536.0f : to_float(f16{static_cast<uint16_t>(bits + 1)});
    const float middle = low / 2 + high / 2;
    for (const float x : {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, kInfinity)}) {
      expect_f16_of(x);
      expect_f16_of(-x);
    }
  }
}

TEST(F16, RoundsAsTheCompilerForAnyFloat) {
  Random random(1);
  for (int i = 0; i < 300000; ++i) expect_f16_of(float_of(static_cast<uint32_t>(random.next())));
  for (const float x :
       {0.0f, -0.0f, kInfinity, -kInfinity, std::numeric_limits<float>::max(), 0x1.0p-149f, -0x1.0p-25f}) {
    expect_f16_of(x);
  }
  for (const uint32_t nan : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0x7fc00000u}) expect_f16_of(float_of(nan));
}

TEST(Bf16, EveryPatternComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bf16 x{static_cast<uint16_t>(bits)};
    ASSERT_EQ(std::bit_cast<uint32_t>(to_float(x)), bits << 16);
    if (is_nan(x)) {
      ASSERT_TRUE(is_nan(to_bf16(to_float(x)))) << bits;
    } else {
      ASSERT_EQ(to_bf16(to_float(x)).bits, x.bits);
    }
  }
}

// The grid of bf16 is every 65536th float, so the midpoint of two neighbours and what lies beside it are known
// patterns.
TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  for (uint32_t low = 0; low < 0x7f80; ++low) {
    for (const uint32_t sign : {0u, 0x8000u}) {
      const uint32_t middle = (sign | low) << 16 | 0x8000u;
      ASSERT_EQ(to_bf16(float_of(middle - 1)).bits, sign | low);
      ASSERT_EQ(to_bf16(float_of(middle)).bits, sign | (low + (low & 1)));
      ASSERT_EQ(to_bf16(float_of(middle + 1)).bits, sign | (low + 1));
    }
  }
}

TEST(Bf16, NanStaysNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7f80ffffu}) {
    EXPECT_TRUE(is_nan(to_bf16(float_of(bits)))) << std::hex << bits;
  }
  EXPECT_EQ(to_bf16(kInfinity).bits, 0x7f80);
  EXPECT_EQ(to_bf16(-kInfinity).bits, 0xff80);
}

}  // namespace
}  // namespace kvpareto
