#include "quant/weight_codec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "quant/weight_panel.h"

namespace kvpareto {
namespace {

std::vector<WeightFormat> grouped_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightCodecInfo& info : kWeightCodecs) {
    if (!is_grouped(info.codec)) continue;
    for (const int group : {32, 64, 128}) formats.push_back({info.codec, group});
  }
  return formats;
}

float value_of(const WeightFormat& format, const WeightUnit& unit, int i) {
  float scale, offset;
  read_scale(format.codec, unit.halves.data(), unit.bytes.data(), 1, i / format.sub(), scale, offset);
  return scale * static_cast<float>(unit.codes[static_cast<size_t>(i)]) - offset;
}

TEST(WeightCodec, TheTableIsInOrderAndItsBlocksAreWhole) {
  for (size_t i = 0; i < kWeightCodecs.size(); ++i) {
    const WeightCodecInfo& info = kWeightCodecs[i];
    EXPECT_EQ(static_cast<size_t>(info.codec), i);
    if (info.codec == WeightCodec::kBf16) continue;
    EXPECT_EQ(info.unit == 0, is_grouped(info.codec));
    const WeightFormat format{info.codec, info.unit == 0 ? 64 : 0};
    EXPECT_EQ(packed_weight_bytes(format, kPanelRows, format.unit()), kPanelRows * block_bytes(format)) << info.name;
    EXPECT_EQ(format.unit() % kPanelColumns, 0);
  }
}

// The nearest code is at most half a step away; the zero point and the f16 scale move the ends by up to half a step and
// by 2^-11 of the range.
TEST(WeightCodec, RoundingIsWithinHalfAStepAndABit) {
  Random random(1);
  for (const WeightFormat& format : grouped_formats()) {
    for (const double shift : {0.0, 3.0, -0.2}) {
      for (const double size : {1.0, 1e-3, 200.0}) {
        std::vector<float> values(static_cast<size_t>(format.unit()));
        for (float& x : values) x = static_cast<float>(size * (random.normal() + shift));
        WeightUnit unit{};
        round_to_nearest(format, values.data(), unit);
        const double step = to_float(unit.halves[0]), most = (1 << format.bits()) - 1;
        for (int i = 0; i < format.unit(); ++i) {
          const double off = std::abs(value_of(format, unit, i) - values[static_cast<size_t>(i)]);
          const double zero_error = is_symmetric(format.codec) ? 0 : 0.5;
          EXPECT_LE(off, step * (0.5 + zero_error + most * 0x1.0p-10)) << info_of(format.codec).name << " " << i;
          EXPECT_LE(unit.codes[static_cast<size_t>(i)], most);
        }
      }
    }
  }
}

TEST(WeightCodec, ZeroStaysZeroAndNothingOverflows) {
  for (const WeightFormat& format : grouped_formats()) {
    const float nan = std::nanf("");
    for (const float filling : {0.0f, 1e-30f, -1e-30f, 3e38f, -3e38f, INFINITY, nan}) {
      std::vector<float> values(static_cast<size_t>(format.unit()), filling);
      values[3] = 0;
      WeightUnit unit{};
      round_to_nearest(format, values.data(), unit);
      EXPECT_EQ(value_of(format, unit, 3), 0.0f) << filling;
      EXPECT_TRUE(std::isfinite(value_of(format, unit, 0))) << filling;
    }
  }
}

TEST(WeightPanel, PlanesComeBack) {
  Random random(2);
  for (const WeightCodecInfo& info : kWeightCodecs) {
    if (info.codec == WeightCodec::kBf16) continue;
    const WeightFormat format{info.codec, info.unit == 0 ? 128 : 0};
    const int64_t columns = 2 * format.unit();
    std::vector<WeightUnit> rows(2 * kPanelRows);  // of the first unit, then of the second
    for (WeightUnit& row : rows) {
      for (uint8_t& code : row.codes) code = static_cast<uint8_t>(random.below(uint64_t{1} << format.bits()));
    }
    std::vector<uint8_t> bytes(packed_weight_bytes(format, kPanelRows, columns), 0xff);
    const auto panel = BasicPanel<uint8_t>::first_of(format, kPanelRows, columns, bytes.data());
    for (int64_t u : {0, 1}) pack_unit(rows.data() + u * kPanelRows, panel, u);
    uint8_t codes[kBlockCodes];
    for (int64_t c = 0; c < columns; ++c) {
      plain_unpack_block(format, BlockPlanes::of(Panel::first_of(format, kPanelRows, columns, bytes.data()), c), codes);
      for (size_t r = 0; r < kPanelRows; ++r) {
        const WeightUnit& row = rows[static_cast<size_t>(c / format.unit()) * kPanelRows + r];
        ASSERT_EQ(codes[static_cast<size_t>(c % 32 / 4 * kPlaneBytes) + 4 * r + static_cast<size_t>(c % 4)],
                  row.codes[static_cast<size_t>(c % format.unit())])
            << info.name << " row " << r << " column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace kvpareto
