#pragma once
// Codecs: how a group of numbers becomes few bits and back. Written once, inline, for every backend.
//
// Integer codecs: value = minimum + scale * code, code in 0 .. 2^bits - 1, scale and minimum stored as f16. The paper
// (arXiv 2512.01953) stores an integer zero point instead; the f16 minimum costs the same bytes and loses less
// (docs/METHODS.md). How scale and minimum are found is a Fit. Codes stand in chunks of 64, 8 * bits bytes each, so
// that a shift and a mask give neighbours:
//   int8  byte i is code i
//   int4  byte j is code j | code j+32 << 4
//   int2  byte j is code j | code j+16 << 2 | code j+32 << 4 | code j+48 << 6
//   int3  the low two bits as int2, then a little-endian 64-bit word with the third bit of code i at bit i
//
// To add one: a row in kCodecs, a case in put_code and code_at, and its vector forms in backend/cpu/codes-inl.h (writing) and unpacking-inl.h; the
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

inline constexpr int kGroupMultiple = 32;  // head sizes and groups are multiples of it
inline constexpr int kChunk = 64;          // codes packed together

KVPARETO_INLINE constexpr int bits_of(Codec codec) { return kCodecs[static_cast<size_t>(codec)].bits; }
inline constexpr bool has_scale(Codec codec) { return codec != Codec::kBf16; }
KVPARETO_INLINE constexpr size_t chunk_bytes(Codec codec) { return static_cast<size_t>(bits_of(codec)) * kChunk / 8; }

// How scale and minimum of a group are found.
//   kRange      from its smallest and largest value (round to nearest, asymmetric, as the paper does)
//   kSquares    the least squared error among shrunken ranges, each refined by a line through its codes
//   kSymmetric  scale alone, the middle code is zero: q8_0 and q4_0 of GGUF (int8 and int4 only)
enum class Fit : uint8_t { kRange, kSquares, kSymmetric };

struct GroupFit {
  f16 scale, minimum;
};

// The minimum that a symmetric scale implies.
KVPARETO_INLINE float symmetric_minimum(float scale, int levels) {
  return -scale * static_cast<float>((levels + 1) / 2);
}

// Scale and minimum for values in [low, high], as stored. Values past the range of f16 are clamped to it; a NaN bound
// gives a NaN minimum or a scale of 0.
KVPARETO_INLINE GroupFit fit_group(float low, float high, int levels) {
  constexpr float kLargest = 65504.0f;
  low = low < -kLargest ? -kLargest : (low > kLargest ? kLargest : low);
  const f16 minimum = to_f16(low + 0.0f);  // of zeros the positive one: a vector minimum may pick either
  const float range = high - to_float(minimum);
  float scale = range > 0 ? range / static_cast<float>(levels) : 0.0f;
  if (scale > kLargest) scale = kLargest;
  return {to_f16(scale), minimum};
}

// 1 / scale, or 0 where the scale is 0 or NaN.
KVPARETO_INLINE float inverse_of(float scale) { return scale > 0 || scale < 0 ? 1.0f / scale : 0.0f; }

// Code of one value; `inverse` is inverse_of(scale). NaN encodes as 0.
KVPARETO_INLINE uint8_t encode_value(float value, float minimum, float inverse, int levels) {
  const float place = (value - minimum) * inverse;
  if (!(place > 0.0f)) return 0;
  const float top = static_cast<float>(levels);
  return static_cast<uint8_t>(__builtin_nearbyintf(place < top ? place : top));
}

// Whether a value lies more than half a step outside what the codes reach.
KVPARETO_INLINE bool is_outside(float value, float minimum, float inverse, int levels) {
  const float place = (value - minimum) * inverse;
  return place < -0.5f || place > static_cast<float>(levels) + 0.5f;
}

// Scale of a symmetric group as ggml makes it: q8_0 spans the largest magnitude with 127 steps to either side, q4_0
// gives the value of largest magnitude the code 0, by a scale of its sign. The minimum is implied, not stored.
KVPARETO_INLINE GroupFit fit_symmetric(float low, float high, int levels) {
  const float far = high >= -low ? high : low, magnitude = far < 0 ? -far : far;
  // Of zeros the positive one, whichever of them a vector minimum picked.
  const float scale = (levels == 255 ? magnitude / 127.0f : far / static_cast<float>(-(levels + 1) / 2)) + 0.0f;
  constexpr float kLargest = 65504.0f;
  return {to_f16(scale > kLargest ? kLargest : (scale < -kLargest ? -kLargest : scale)), f16{}};
}

// Sums in eight lanes whatever the instruction set, so that every target finds the same fit.
inline constexpr int kFitLanes = 8;

KVPARETO_INLINE float sum_of(const float (&lanes)[kFitLanes]) {
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

// encode_value() of numbers that are not NaN without a branch: adding 1.5 * 2^23 rounds to the nearest integer.
KVPARETO_INLINE float code_of(float value, float minimum, float inverse, float top) {
  float place = (value - minimum) * inverse;
  place = place > 0 ? place : 0.0f;
  place = place < top ? place : top;
  return (place + 12582912.0f) - 12582912.0f;
}

KVPARETO_INLINE float squared_error(const float* x, int n, GroupFit fit, int levels) {
  const float scale = to_float(fit.scale), minimum = to_float(fit.minimum), inverse = inverse_of(scale);
  const float top = static_cast<float>(levels);
  float sums[kFitLanes] = {};
  for (int i = 0; i < n; i += kFitLanes) {
    for (int l = 0; l < kFitLanes; ++l) {
      const float off = x[i + l] - (minimum + scale * code_of(x[i + l], minimum, inverse, top));
      sums[l] += off * off;
    }
  }
  return sum_of(sums);
}

// The line through (code, value) of least squared error, with the codes that scale and minimum give.
KVPARETO_INLINE GroupFit refined(const float* x, int n, float scale, float minimum, int levels) {
  const float inverse = inverse_of(scale), top = static_cast<float>(levels);
  float codes[kFitLanes] = {}, squares[kFitLanes] = {}, values[kFitLanes] = {}, products[kFitLanes] = {};
  for (int i = 0; i < n; i += kFitLanes) {
    for (int l = 0; l < kFitLanes; ++l) {
      const float code = code_of(x[i + l], minimum, inverse, top), value = x[i + l] - minimum;
      codes[l] += code;
      squares[l] += code * code;
      values[l] += value;
      products[l] += code * value;
    }
  }
  const float count = static_cast<float>(n), code = sum_of(codes) / count, value = sum_of(values) / count;
  const float variance = sum_of(squares) / count - code * code;
  if (!(variance > 0)) return {to_f16(scale), to_f16(minimum)};
  const float slope = (sum_of(products) / count - code * value) / variance;
  return {to_f16(slope), to_f16(minimum + value - slope * code)};
}

// Fit::kSquares of n values, a multiple of kFitLanes; never worse than the range. Clipping a group to least error is an
// old trick (arXiv 1810.05723); the refining line is one step of Lloyd's algorithm for evenly spaced codes.
KVPARETO_INLINE GroupFit fit_squares(const float* x, int n, float low, float high, int levels) {
  GroupFit best = fit_group(low, high, levels);
  float least = squared_error(x, n, best, levels);
  const float middle = 0.5f * (low + high), half = 0.5f * (high - low);
  constexpr float kShrinks[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f};
  const int tried = levels > 15 ? 1 : (levels > 3 ? 3 : 5);  // fewer codes bear more clipping
  for (int i = 0; i < tried; ++i) {
    const float reach = half * kShrinks[i];
    const GroupFit fit = refined(x, n, 2 * reach / static_cast<float>(levels), middle - reach, levels);
    const float error = squared_error(x, n, fit, levels);
    if (!(error < least)) continue;
    least = error;
    best = fit;
  }
  return best;
}

// Of n values whose smallest and largest are known; kSquares wants a multiple of kFitLanes.
KVPARETO_INLINE GroupFit fit_values(Fit how, const float* x, int n, float low, float high, int levels) {
  if (how == Fit::kSymmetric) return fit_symmetric(low, high, levels);
  return how == Fit::kSquares ? fit_squares(x, n, low, high, levels) : fit_group(low, high, levels);
}

// Code `at` of a chunk; the others stay as they are.
KVPARETO_INLINE void put_code(Codec codec, uint8_t* chunk, int at, uint8_t code) {
  const auto put = [&](int byte, int bit, int mask, int bits) {
    chunk[byte] = static_cast<uint8_t>((chunk[byte] & ~(mask << bit)) | bits << bit);
  };
  if (codec == Codec::kInt8) {
    chunk[at] = code;
  } else if (codec == Codec::kInt4) {
    put(at % 32, at / 32 * 4, 15, code);
  } else {
    put(at % 16, at / 16 * 2, 3, code & 3);
    if (codec == Codec::kInt3) put(16 + at / 8, at % 8, 1, code >> 2);
  }
}

KVPARETO_INLINE uint8_t code_at(Codec codec, const uint8_t* chunk, int at) {
  if (codec == Codec::kInt8) return chunk[at];
  if (codec == Codec::kInt4) return chunk[at % 32] >> (at / 32 * 4) & 15;
  const int low = chunk[at % 16] >> (at / 16 * 2) & 3;
  if (codec == Codec::kInt2) return static_cast<uint8_t>(low);
  return static_cast<uint8_t>(low | (chunk[16 + at / 8] >> (at % 8) & 1) << 2);
}

}  // namespace kvpareto
