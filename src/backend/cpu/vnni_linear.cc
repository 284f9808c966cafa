// Products of quantized weights in AVX-512 with VNNI: vpdpbusd sums four products of bytes in a lane.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")

namespace kvpareto {
namespace {

constexpr int kMostTokens = 6;  // of a tile: with two vectors of rows, as many sums as hide the latency of the product
constexpr int kMostByteTokens = kMostTokens;
constexpr int kMostFloatTokens = 8;

struct Vectors {
  using Float = __m512;
  using Codes = __m512i;
  static constexpr int kParts = 1;   // vectors of sixteen rows
  static constexpr int kPanels = 2;  // of a tile: an input that is loaded is multiplied twice, else loads are the limit

  KVPARETO_INLINE static Float load(const float* from) { return _mm512_loadu_ps(from); }
  KVPARETO_INLINE static void store(Float x, float* to) { _mm512_storeu_ps(to, x); }
  KVPARETO_INLINE static Float all(float x) { return _mm512_set1_ps(x); }
  KVPARETO_INLINE static Float root(Float x) { return _mm512_sqrt_ps(x); }
  KVPARETO_INLINE static Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  KVPARETO_INLINE static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  KVPARETO_INLINE static Float less_product(Float c, Float a, Float b) { return _mm512_fnmadd_ps(a, b, c); }
  KVPARETO_INLINE static Codes load_codes(const uint8_t* from) { return _mm512_loadu_si512(from); }
  KVPARETO_INLINE static void store_codes(Codes codes, uint8_t* to) { _mm512_storeu_si512(to, codes); }
  KVPARETO_INLINE static Codes all_wholes(int32_t whole) { return _mm512_set1_epi32(whole); }
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

  // The level less the byte of each row, in all bytes of the row.
  KVPARETO_INLINE static Codes less_each(int level, const uint8_t* bytes) {
    const __m128i rows = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m128i left = _mm_sub_epi8(_mm_set1_epi8(static_cast<char>(level)), rows);
    const __m512i in_turn = _mm512_set4_epi32(0x03030303, 0x02020202, 0x01010101, 0);
    const __m512i quarters =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_setr_m128i(_mm_set1_epi8(0), _mm_set1_epi8(4))),
                           _mm256_setr_m128i(_mm_set1_epi8(8), _mm_set1_epi8(12)), 1);
    const __m512i from = _mm512_add_epi8(in_turn, quarters);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(left), from);
  }
  KVPARETO_INLINE static Codes sum_of_bytes(Codes a, Codes b) { return _mm512_add_epi8(a, b); }
  // Whole numbers times the byte of each row in 2^-bits.
  KVPARETO_INLINE static Codes part_of(Codes whole, const uint8_t* bytes, int bits) {
    const __m512i rows = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    return _mm512_srai_epi32(_mm512_mullo_epi32(whole, rows), static_cast<unsigned>(bits));
  }

  // Whether a group's offset is taken away at its end, since its zero is no whole number.
  static constexpr bool takes_offsets(const WeightCodecInfo& info) { return info.halves == 2; }

  // Whole-number sums of a few steps, [tokens][panels].
  template <typename Kind, int kTokens, int kVectors>
  struct Dot {
    __m512i sums[kTokens][kVectors];

    // Overwrites the sums with the products of steps [kFirst, kFirst + kCount) of a block.
    template <int kFirst, int kCount, typename Block>
    KVPARETO_INLINE void add(Block block, const int8_t* x, [[maybe_unused]] const int32_t* starts) {
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          sums[t][v] = Kind::kOffsets ? _mm512_setzero_si512() : block.start(starts[t]);
        }
      }
#pragma GCC unroll 8
      for (int step = kFirst; step < kFirst + kCount; ++step) {
        Codes bytes[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) bytes[v] = block.at(step, v);
#pragma GCC unroll 6
        for (int t = 0; t < kTokens; ++t) {
          int32_t four;
          std::memcpy(&four, x + t * kPanelColumns + 4 * step, sizeof four);
          const Codes inputs = _mm512_set1_epi32(four);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) {
            // In assembly, since g++ 12 spills the sums of the intrinsic.
            __asm__("vpdpbusd %2, %1, %0" : "+v"(sums[t][v]) : "v"(bytes[v]), "v"(inputs));
          }
        }
      }
    }
    KVPARETO_INLINE __m512 whole(int t, int v) const { return _mm512_cvtepi32_ps(sums[t][v]); }
  };
};

// Each uses those above it.
// clang-format off
#include "backend/cpu/linear_unpack-inl.h"
#include "backend/cpu/linear_tiles-inl.h"
#include "backend/cpu/linear_streams-inl.h"
#include "backend/cpu/linear_bounds-inl.h"
#include "backend/cpu/linear_panels-inl.h"
#include "backend/cpu/vnni_rounding-inl.h"
// clang-format on

}  // namespace

const LinearKernels& vnni_linear_kernels() {
  static const LinearKernels kTable = {tile_tokens, round_row, panels_int8, panels_float, bound_panels, widen_panel, unpack};
  return kTable;
}

}  // namespace kvpareto
#pragma GCC pop_options
