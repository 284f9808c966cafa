#pragma once
// How the numbers of a weight matrix are held: codecs of this program and, bit for bit, those of GGUF files.
//
//   value = scale * code - offset        code unsigned, scale and offset of `sub` neighbouring values of a row
//
// What a unit of values (a group, or a block of the file) holds beside its codes are at most two f16 numbers and a few
// bytes a row; read_scales() says what they mean. To add a codec: a row in kWeightCodecs, a case in read_scales(), for
// a format of GGUF one in split_block() (weight_codec.cc); tests walk over the list.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/float_types.h"

namespace kvpareto {

enum class WeightCodec : uint8_t {
  kBf16,
  kInt8,
  kInt8Apart,  // ...Apart: planes lie apart, so that the high bits of all codes can be read alone, as a head's are
  kInt4,
  kInt3,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4K,
  kQ5K,
  kQ6K,
  kQ6KApart
};

struct WeightCodecInfo {
  WeightCodec codec;
  std::string_view name;    // of the scheme's text, or GGUF's name of the format
  int low_bits, high_bits;  // of a code, held in two planes (weight_panel.h)
  int halves, bytes;        // f16 numbers and bytes of a unit of one row
  int unit;                 // values of a row in a unit; 0: the group of the format
  int sub;                  // values that share a scale; 0: the unit
  int zero;                 // the code whose value is 0 where that is always the same; else 0
};

inline constexpr std::array<WeightCodecInfo, 14> kWeightCodecs = {{
    {WeightCodec::kBf16, "w16", 0, 0, 0, 0, 0, 0, 0},
    {WeightCodec::kInt8, "w8", 8, 0, 1, 0, 0, 0, 128},
    {WeightCodec::kInt8Apart, "w8", 4, 4, 1, 0, 0, 0, 128},
    {WeightCodec::kInt4, "w4", 4, 0, 1, 1, 0, 0, 0},  // the byte is the integer zero point, as AWQ has it
    {WeightCodec::kInt3, "w3", 2, 1, 1, 1, 0, 0, 0},
    {WeightCodec::kQ4_0, "Q4_0", 4, 0, 1, 0, 32, 0, 8},
    {WeightCodec::kQ4_1, "Q4_1", 4, 0, 2, 0, 32, 0, 0},
    {WeightCodec::kQ5_0, "Q5_0", 4, 1, 1, 0, 32, 0, 16},
    {WeightCodec::kQ5_1, "Q5_1", 4, 1, 2, 0, 32, 0, 0},
    {WeightCodec::kQ8_0, "Q8_0", 8, 0, 1, 0, 32, 0, 128},
    {WeightCodec::kQ4K, "Q4_K", 4, 0, 2, 12, 256, 32, 0},
    {WeightCodec::kQ5K, "Q5_K", 4, 1, 2, 12, 256, 32, 0},
    {WeightCodec::kQ6K, "Q6_K", 4, 2, 1, 16, 256, 16, 32},
    {WeightCodec::kQ6KApart, "Q6_K", 2, 4, 1, 16, 256, 16, 32},
}};
inline constexpr int kMostUnitBytes = 16, kMostSubs = 16, kLargestUnit = 256;

KVPARETO_INLINE constexpr const WeightCodecInfo& info_of(WeightCodec codec) {
  return kWeightCodecs[static_cast<size_t>(codec)];
}

// Whether codes, scales and zeros are made (or given) by groups, and not taken from the blocks of a file.
inline constexpr bool is_grouped(WeightCodec codec) { return codec != WeightCodec::kBf16 && info_of(codec).unit == 0; }
// Whether one plane of a panel lies behind all of the other (weight_panel.h).
KVPARETO_INLINE constexpr bool is_apart(WeightCodec codec) {
  return codec == WeightCodec::kInt8Apart || codec == WeightCodec::kQ6KApart;
}
// Whether codes are rounded to on both sides of zero, without a zero point of their own.
inline constexpr bool is_symmetric(WeightCodec codec) { return info_of(codec).zero == 128; }

struct WeightFormat {
  WeightCodec codec = WeightCodec::kBf16;
  int group = 0;  // values of a row that share scale and zero point: 32, 64 or 128; 0 where the codec alone says it

  KVPARETO_INLINE constexpr int unit() const { return info_of(codec).unit > 0 ? info_of(codec).unit : group; }
  KVPARETO_INLINE constexpr int sub() const { return info_of(codec).sub > 0 ? info_of(codec).sub : unit(); }
  KVPARETO_INLINE constexpr int bits() const { return info_of(codec).low_bits + info_of(codec).high_bits; }
  bool operator==(const WeightFormat&) const = default;
};

// What holds the same numbers with planes that lie apart, or the format itself if nothing does. Q8_0 is int8 in groups
// of 32.
inline constexpr WeightFormat with_planes_apart(const WeightFormat& format) {
  if (format.codec == WeightCodec::kInt8) return {WeightCodec::kInt8Apart, format.group};
  if (format.codec == WeightCodec::kQ8_0) return {WeightCodec::kInt8Apart, format.unit()};
  if (format.codec == WeightCodec::kQ6K) return {WeightCodec::kQ6KApart, 0};
  return format;
}

// The eight 6-bit scales and minimums of a Q4_K or Q5_K block: the first four of each lie whole in the low bits of
// bytes 0-3 and 4-7; the others have their low four bits in bytes 8-11 and their high two on top of bytes 0-7.
KVPARETO_INLINE void six_bit_pair(const uint8_t* bytes, int64_t stride, int sub, int& scale, int& minimum) {
  if (sub < 4) {
    scale = bytes[sub * stride] & 63;
    minimum = bytes[(sub + 4) * stride] & 63;
    return;
  }
  const int low = bytes[(sub + 4) * stride];
  scale = (low & 15) | (bytes[(sub - 4) * stride] >> 6) << 4;
  minimum = (low >> 4) | (bytes[sub * stride] >> 6) << 4;
}

// Scale and offset of sub-group `sub` of one unit of one row; neighbouring halves and bytes stand `stride` apart.
KVPARETO_INLINE void read_scale(WeightCodec codec, const f16* halves, const uint8_t* bytes, int64_t stride, int sub,
                                float& scale, float& offset) {
  const float first = to_float(halves[0]);
  switch (codec) {
    case WeightCodec::kInt4:
    case WeightCodec::kInt3:
      scale = first;
      offset = first * static_cast<float>(bytes[0]);
      return;
    case WeightCodec::kQ4_1:
    case WeightCodec::kQ5_1:
      scale = first;
      offset = -to_float(halves[stride]);
      return;
    case WeightCodec::kQ4K:
    case WeightCodec::kQ5K: {
      int factor, minimum;
      six_bit_pair(bytes, stride, sub, factor, minimum);
      scale = first * static_cast<float>(factor);
      offset = to_float(halves[stride]) * static_cast<float>(minimum);
      return;
    }
    case WeightCodec::kQ6K:
    case WeightCodec::kQ6KApart:
      scale = first * static_cast<float>(static_cast<int8_t>(bytes[sub * stride]));
      offset = scale * static_cast<float>(info_of(codec).zero);
      return;
    default:
      scale = first;
      offset = first * static_cast<float>(info_of(codec).zero);
  }
}

// One unit of one row.
struct WeightUnit {
  std::array<uint8_t, kLargestUnit> codes;
  std::array<f16, 2> halves;
  std::array<uint8_t, kMostUnitBytes> bytes;
};

// Round to nearest of format.unit() values, for int8 symmetric, else asymmetric with an integer zero point between the
// smallest and the largest code (arXiv 2306.00978, its quantizer); the scale is rounded to f16 first. NaN becomes the
// smallest code.
void round_to_nearest(const WeightFormat& format, const float* values, WeightUnit& unit);

// A block of a GGUF file taken apart, losing nothing.
void split_block(WeightCodec codec, const uint8_t* block, WeightUnit& unit);
// Bytes of such a block.
size_t block_bytes(const WeightFormat& format);

}  // namespace kvpareto
