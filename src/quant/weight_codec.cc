#include "quant/weight_codec.h"

#include <algorithm>
#include <cstring>

namespace kvpareto {
namespace {

constexpr float kLargestF16 = 65504;

// To the nearest integer, ties to even, for magnitudes below 2^22; nearbyint() is a call on the oldest x86-64.
float to_nearest(float x) { return x + 0x1.8p23f - 0x1.8p23f; }

uint8_t clamped_code(float code, int most) {
  return static_cast<uint8_t>(std::min(std::max(0.0f, code), static_cast<float>(most)));
}

// The f16 scale, and what to divide by: 0 for a scale that vanishes.
float inverse_of(f16& scale, float wanted) {
  scale = to_f16(std::min(wanted, kLargestF16));
  const float stored = to_float(scale);
  return stored > 0 ? 1 / stored : 0;
}

void split_halves(const uint8_t* block, const WeightCodecInfo& info, WeightUnit& unit) {
  std::memcpy(unit.halves.data(), block, static_cast<size_t>(info.halves) * sizeof(f16));
}

// Bit i of `bits` as bit 4 of byte i.
uint64_t spread_to_fifth(uint8_t bits) {
  const uint64_t alone = (bits * 0x0101010101010101u) & 0x8040201008040201u;  // bit i, in byte i alone
  return ((alone + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u) >> 3;
}

// 32 codes: 0 to 15 in the low halves of 16 bytes, 16 to 31 in the high halves; a fifth bit in a word before them.
void split_nibbles(const uint8_t* low, const uint8_t* high, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = low[i] & 15;
    codes[i + 16] = low[i] >> 4;
  }
  for (int i = 0; high != nullptr && i < 4; ++i) {
    uint64_t eight;
    std::memcpy(&eight, codes + 8 * i, sizeof eight);
    eight |= spread_to_fifth(high[i]);
    std::memcpy(codes + 8 * i, &eight, sizeof eight);
  }
}

void split_k_block(const uint8_t* block, bool fifth, WeightUnit& unit) {
  std::memcpy(unit.bytes.data(), block + 4, 12);
  const uint8_t *high = block + 16, *low = high + (fifth ? 32 : 0);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* from = low + group / 2 * 32;
    uint8_t* codes = unit.codes.data() + 32 * group;
    for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(from[i] >> (group % 2 * 4) & 15);
    for (int i = 0; fifth && i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | (high[i] >> group & 1) << 4);
  }
}

void split_q6_k(const uint8_t* block, WeightUnit& unit) {
  std::memcpy(unit.bytes.data(), block + 192, 16);
  std::memcpy(unit.halves.data(), block + 208, sizeof(f16));
  for (int part = 0; part < 8; ++part) {
    const int half = part / 4, quarter = part % 4;
    const uint8_t *low = block + half * 64 + quarter % 2 * 32, *high = block + 128 + half * 32;
    uint8_t* codes = unit.codes.data() + 32 * part;
    for (int i = 0; i < 32; ++i) {
      codes[i] = static_cast<uint8_t>((low[i] >> (quarter / 2 * 4) & 15) | (high[i] >> (quarter * 2) & 3) << 4);
    }
  }
}

}  // namespace

void round_to_nearest(const WeightFormat& format, const float* values, WeightUnit& unit) {
  const int n = format.unit(), most = (1 << format.bits()) - 1;
  // Zero is always in the range, so that its code lies between the smallest and the largest.
  float low = 0, high = 0;
  for (int i = 0; i < n; ++i) {
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  if (is_symmetric(format.codec)) {
    const int zero = info_of(format.codec).zero;
    const float inverse = inverse_of(unit.halves[0], std::max(-low, high) / 127);
    for (int i = 0; i < n; ++i) {
      const float step = to_nearest(values[i] * inverse);
      unit.codes[static_cast<size_t>(i)] = clamped_code(std::max(-127.0f, step) + static_cast<float>(zero), most);
    }
    return;
  }
  const float inverse = inverse_of(unit.halves[0], (high - low) / static_cast<float>(most));
  unit.bytes[0] = clamped_code(to_nearest(-low * inverse), most);
  for (int i = 0; i < n; ++i) {
    unit.codes[static_cast<size_t>(i)] =
        clamped_code(to_nearest(values[i] * inverse) + static_cast<float>(unit.bytes[0]), most);
  }
}

void split_block(WeightCodec codec, const uint8_t* block, WeightUnit& unit) {
  const WeightCodecInfo& info = info_of(codec);
  if (codec == WeightCodec::kQ6K || codec == WeightCodec::kQ6KApart) return split_q6_k(block, unit);
  split_halves(block, info, unit);
  const uint8_t* rest = block + info.halves * 2;
  switch (codec) {
    case WeightCodec::kQ8_0:
      for (size_t i = 0; i < 32; ++i) unit.codes[i] = static_cast<uint8_t>(rest[i] + 128);
      return;
    case WeightCodec::kQ4K:
    case WeightCodec::kQ5K:
      return split_k_block(block, codec == WeightCodec::kQ5K, unit);
    default:
      split_nibbles(rest + (info.high_bits > 0 ? 4 : 0), info.high_bits > 0 ? rest : nullptr, unit.codes.data());
  }
}

size_t block_bytes(const WeightFormat& format) {
  const WeightCodecInfo& info = info_of(format.codec);
  return static_cast<size_t>(info.halves * 2 + info.bytes + format.unit() * format.bits() / 8);
}

}  // namespace kvpareto
