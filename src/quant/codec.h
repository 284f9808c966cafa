#pragma once
// Codecs: how a group of numbers becomes few bits and back. Written once, inline, for every backend.
//
// Integer codecs round to nearest, asymmetric: value = minimum + scale * code, code in 0 .. 2^bits - 1, scale and minimum
// stored as f16. The paper (arXiv 2512.01953) stores an integer zero point instead; the f16 minimum costs the same bytes and
// loses less (docs/METHODS.md). Codes stand in chunks of 32 values, 4 * bits bytes each:
//   int8  byte i is code i
//   int4  byte j is code j | code j+16 << 4
//   int2  little-endian 64-bit word, code i at bit 2i
//   int3  the low two bits as int2, then a 32-bit word with the third bit of code i at bit i
//
// To add one: a row in kCodecs, a case in pack_chunk and unpack_chunk, and its vector form in backend/cpu/packing-inl.h; the
// round-trip test and the backends' contract tests walk over the list.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor/float_types.h"

namespace kvpareto {

enum class Codec : uint8_t { kBf16, kInt8, kInt4, kInt3, kInt2 };

struct CodecInfo {
  Codec codec;
  int bits;               // of one stored value, without scale and minimum
  std::string_view name;  // "int4"
};

inline constexpr std::array<CodecInfo, 5> kCodecs = {{{Codec::kBf16, 16, "bf16"},
                                                      {Codec::kInt8, 8, "int8"},
                                                      {Codec::kInt4, 4, "int4"},
                                                      {Codec::kInt3, 3, "int3"},
                                                      {Codec::kInt2, 2, "int2"}}};

inline constexpr int kChunk = 32;  // values packed together; head sizes and groups are multiples of it

KVPARETO_INLINE constexpr int bits_of(Codec codec) { return kCodecs[static_cast<size_t>(codec)].bits; }
inline constexpr bool has_scale(Codec codec) { return codec != Codec::kBf16; }
KVPARETO_INLINE constexpr size_t chunk_bytes(Codec codec) { return static_cast<size_t>(bits_of(codec)) * kChunk / 8; }

struct GroupFit {
  f16 scale, minimum;
};

// Scale and minimum for values in [low, high], as stored. Values past the range of f16 are clamped to it; a NaN bound gives
// a NaN minimum or a scale of 0.
KVPARETO_INLINE GroupFit fit_group(float low, float high, int levels) {
  constexpr float kLargest = 65504.0f;
  low = low < -kLargest ? -kLargest : (low > kLargest ? kLargest : low);
  const f16 minimum = to_f16(low + 0.0f);  // of zeros the positive one: a vector minimum may pick either
  const float range = high - to_float(minimum);
  float scale = range > 0 ? range / static_cast<float>(levels) : 0.0f;
  if (scale > kLargest) scale = kLargest;
  return {to_f16(scale), minimum};
}

// Code of one value; `inverse` is 1 / scale, or 0 where the scale is 0. NaN encodes as 0.
KVPARETO_INLINE uint8_t encode_value(float value, float minimum, float inverse, int levels) {
  const float place = (value - minimum) * inverse;
  if (!(place > 0.0f)) return 0;
  const float top = static_cast<float>(levels);
  return static_cast<uint8_t>(__builtin_nearbyintf(place < top ? place : top));
}

KVPARETO_INLINE void pack_chunk(Codec codec, const uint8_t* codes, uint8_t* out) {
  if (codec == Codec::kInt8) {
    __builtin_memcpy(out, codes, kChunk);
    return;
  }
  if (codec == Codec::kInt4) {
    for (int j = 0; j < 16; ++j) out[j] = static_cast<uint8_t>(codes[j] | codes[j + 16] << 4);
    return;
  }
  uint64_t low = 0;
  uint32_t high = 0;
  for (int i = 0; i < kChunk; ++i) {
    low |= static_cast<uint64_t>(codes[i] & 3u) << (2 * i);
    high |= static_cast<uint32_t>(codes[i] >> 2 & 1u) << i;
  }
  __builtin_memcpy(out, &low, 8);
  if (codec == Codec::kInt3) __builtin_memcpy(out + 8, &high, 4);
}

KVPARETO_INLINE void unpack_chunk(Codec codec, const uint8_t* in, uint8_t* codes) {
  if (codec == Codec::kInt8) {
    __builtin_memcpy(codes, in, kChunk);
    return;
  }
  if (codec == Codec::kInt4) {
    for (int j = 0; j < 16; ++j) {
      codes[j] = in[j] & 15u;
      codes[j + 16] = in[j] >> 4;
    }
    return;
  }
  uint64_t low;
  uint32_t high = 0;
  __builtin_memcpy(&low, in, 8);
  if (codec == Codec::kInt3) __builtin_memcpy(&high, in + 8, 4);
  for (int i = 0; i < kChunk; ++i) {
    codes[i] = static_cast<uint8_t>((low >> (2 * i) & 3u) | (high >> i & 1u) << 2);
  }
}

}  // namespace kvpareto
