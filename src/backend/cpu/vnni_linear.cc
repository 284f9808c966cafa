// Products of quantized weights in AVX-512 with VNNI: vpdpbusd sums four products of bytes in a lane.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "backend/cpu/linear_kernels.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")

namespace kvpareto {
namespace {

constexpr int kMostTokens = 12;  // of a tile: as many sums in flight hide the latency of the product
constexpr int kMostByteTokens = kMostTokens;
constexpr int kMostFloatTokens = 8;

struct Vectors {
  using Float = __m512;
  using Codes = __m512i;
  static constexpr int kParts = 1;  // vectors of sixteen rows

  KVPARETO_INLINE static Float load(const float* from) { return _mm512_loadu_ps(from); }
  KVPARETO_INLINE static void store(Float x, float* to) { _mm512_storeu_ps(to, x); }
  KVPARETO_INLINE static Float all(float x) { return _mm512_set1_ps(x); }
  KVPARETO_INLINE static Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  KVPARETO_INLINE static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  KVPARETO_INLINE static Float less_product(Float c, Float a, Float b) { return _mm512_fnmadd_ps(a, b, c); }
  KVPARETO_INLINE static Codes load_codes(const uint8_t* from) { return _mm512_loadu_si512(from); }
  KVPARETO_INLINE static void store_codes(Codes codes, uint8_t* to) { _mm512_storeu_si512(to, codes); }
  KVPARETO_INLINE static Codes all_bytes(int byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  KVPARETO_INLINE static Codes both(Codes a, Codes b) { return _mm512_and_si512(a, b); }
  KVPARETO_INLINE static Codes either(Codes a, Codes b) { return _mm512_or_si512(a, b); }
  KVPARETO_INLINE static Codes right(Codes a, int bits) { return _mm512_srli_epi16(a, static_cast<unsigned>(bits)); }
  KVPARETO_INLINE static Codes left(Codes a, int bits) { return _mm512_slli_epi16(a, static_cast<unsigned>(bits)); }
  // Byte i of each 32-bit lane as a number.
  KVPARETO_INLINE static Float byte_of(Codes codes, int i) {
    return _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_srli_epi32(codes, static_cast<unsigned>(8 * i)), _mm512_set1_epi32(255)));
  }
  KVPARETO_INLINE static void widen_halves(const uint8_t* halves, float* to) {
    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves))));
  }

  // Codes enter as they are, without their sign.
  template <int kBits>
  static constexpr bool kCentred = false;

  // Whole-number sums of a few steps, [tokens][parts].
  template <int kBits, int kTokens>
  struct Dot {
    __m512i sums[kTokens];

    // Overwrites the sums with the products of steps [kFirst, kFirst + kCount) of a block.
    template <int kFirst, int kCount, typename Block>
    KVPARETO_INLINE void add(Block block, const int8_t* x) {
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int step = kFirst; step < kFirst + kCount; ++step) {
        const Codes bytes = block.at(step, 0);
#pragma GCC unroll 12
        for (int t = 0; t < kTokens; ++t) {
          // In assembly, since g++ 12 spills the sums of the intrinsic.
          using FourInputs [[gnu::may_alias, gnu::aligned(1)]] = int32_t;
          __asm__("vpdpbusd %2%{1to16%}, %1, %0"
                  : "+v"(sums[t])
                  : "v"(bytes), "m"(*reinterpret_cast<const FourInputs*>(x + t * kPanelColumns + 4 * step)));
        }
      }
    }
    KVPARETO_INLINE __m512 whole(int t, int /*part*/) const { return _mm512_cvtepi32_ps(sums[t]); }
  };
};

// Each uses those above it.
// clang-format off
#include "backend/cpu/linear_unpack-inl.h"
#include "backend/cpu/linear_tiles-inl.h"
#include "backend/cpu/linear_streams-inl.h"
#include "backend/cpu/linear_panels-inl.h"
// clang-format on

// Two vectors of f32 as bf16, their numbers in turn.
[[gnu::target("avx512bf16")]] inline void store_pairs(__m512 first, __m512 second, __m512i turns, bf16* to) {
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
  _mm512_storeu_si512(to, _mm512_permutexvar_epi16(turns, both));
}

[[gnu::target("avx512bf16")]] void pair_panel(const WeightFormat& format, const uint8_t* panel, int64_t begin,
                                              int64_t columns, bf16* pairs, float* scratch) {
  const PanelSlice slice(scratch);
  unpack(format, panel, begin, columns, slice);
  // Word i of the result is word i / 2 of the first vector or of the second one.
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const __m512i turns = _mm512_load_si512(order);
  const int64_t sub = format.sub();
  for (int64_t c = 0; c < columns; c += sub) {
    const int64_t at = c / sub * kPanelRows;
    const __m512 scale = _mm512_loadu_ps(slice.scales + at), offset = _mm512_loadu_ps(slice.offsets + at);
    for (int64_t k = c; k < c + sub; k += 4) {
      const __m512i codes = _mm512_loadu_si512(slice.codes + k * kPanelRows);
      const auto number = [&](int i) { return _mm512_fmsub_ps(Vectors::byte_of(codes, i), scale, offset); };
      store_pairs(number(0), number(1), turns, pairs + k * kPanelRows);
      store_pairs(number(2), number(3), turns, pairs + (k + 2) * kPanelRows);
    }
  }
}

}  // namespace

const LinearKernels& vnni_linear_kernels() {
  static const LinearKernels kTable = {
      tile_tokens, avx2_linear_kernels().round_row, panels_int8, panels_float, widen_panel, pair_panel};
  return kTable;
}

}  // namespace kvpareto
#pragma GCC pop_options
