// Products of quantized weights in AVX-512 with VNNI: vpdpbusd sums four products of bytes in a lane.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
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

  // Whole-number sums of a few steps, [tokens][panels].
  template <int kBits, int kTokens, int kVectors>
  struct Dot {
    __m512i sums[kTokens][kVectors];

    // Overwrites the sums with the products of steps [kFirst, kFirst + kCount) of a block.
    template <int kFirst, int kCount, typename Block>
    KVPARETO_INLINE void add(Block block, const int8_t* x) {
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[t][v] = _mm512_setzero_si512();
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
#include "backend/cpu/linear_panels-inl.h"
// clang-format on

// --- rounding of inputs, four blocks of 32 at a time

// The largest bits of each of four vectors, in turn in every lane of 128 bits.
inline __m512i largest_of_four(const __m512i (&v)[4]) {
  const auto halved = [](__m512i a, __m512i b) {
    return _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i first = halved(v[0], v[1]), second = halved(v[2], v[3]);
  __m512i all = _mm512_max_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  all = _mm512_max_epi32(all, _mm512_shuffle_i32x4(all, all, 0x4e));
  return _mm512_max_epi32(all, _mm512_shuffle_i32x4(all, all, 0xb1));
}

// Two blocks as codes, one behind the other, of two vectors each; `scale` has what each is multiplied by.
inline __m512i codes_of_two(const __m512* in, __m512 first, __m512 second) {
  const auto whole = [](__m512 x, __m512 scale) { return _mm512_cvtps_epi32(_mm512_mul_ps(x, scale)); };
  const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(whole(in[0], first), whole(in[1], first)),
                                            _mm512_packs_epi32(whole(in[2], second), whole(in[3], second)));
  // Packing works on lanes of 128 bits: their fours are put back in order.
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed);
}

// Sums of sixteen neighbouring codes each, in all of a lane of 128 bits.
inline __m512i sums_of_sixteen(__m512i codes) {
  __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
  sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_BADC));
  return _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_CDAB));
}

// round_inputs() of host_linear.h for each block.
void round_row(const float* x, int64_t columns, int64_t sub, const RoundedRow& row, float* sums) {
  constexpr int kBlocks = 4;
  const __m512i sizes = _mm512_set1_epi32(0x7fffffff);
  const __m512i of_halves = _mm512_setr_epi32(0, 8, 16, 24, 4, 12, 20, 28, 0, 0, 0, 0, 0, 0, 0, 0);
  float sum = 0;
  for (int64_t c = 0; c < columns; c += kBlocks * kPanelColumns) {
    const auto blocks = static_cast<int>(std::min<int64_t>(kBlocks, (columns - c) / kPanelColumns));
    __m512 in[2 * kBlocks];
    __m512i bits[kBlocks];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      in[2 * b] = b < blocks ? _mm512_loadu_ps(x + c + 32 * b) : _mm512_setzero_ps();
      in[2 * b + 1] = b < blocks ? _mm512_loadu_ps(x + c + 32 * b + 16) : _mm512_setzero_ps();
      bits[b] = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(in[2 * b]), sizes),
                                 _mm512_and_si512(_mm512_castps_si512(in[2 * b + 1]), sizes));
    }
    const __m128i most_bits = _mm512_castsi512_si128(largest_of_four(bits));
    const __m128 most = _mm_castsi128_ps(most_bits), all = _mm_set1_ps(127);
    const __mmask8 counts = _mm_cmp_ps_mask(most, _mm_set1_ps(kSmallestInput), _CMP_GT_OQ);
    const __mmask8 finite = _mm_cmplt_epi32_mask(most_bits, _mm_set1_epi32(0x7f800000));
    const __m512 inverse = _mm512_broadcast_f32x4(_mm_maskz_div_ps(counts, all, most));
    const __m128 scale = _mm_mask_div_ps(_mm_set1_ps(__builtin_nanf("")), finite, most, all);
    const __m512i first = codes_of_two(in, _mm512_permute_ps(inverse, 0x00), _mm512_permute_ps(inverse, 0x55));
    const __m512i second = codes_of_two(in + 4, _mm512_permute_ps(inverse, 0xaa), _mm512_permute_ps(inverse, 0xff));
    // Sums of first halves, then of second ones.
    const __m256i halves =
        _mm512_castsi512_si256(_mm512_permutex2var_epi32(sums_of_sixteen(first), of_halves, sums_of_sixteen(second)));
    const __m128i left = _mm256_castsi256_si128(halves), right = _mm256_extracti128_si256(halves, 1);

    const __m256i codes[kBlocks] = {_mm512_castsi512_si256(first), _mm512_extracti64x4_epi64(first, 1),
                                    _mm512_castsi512_si256(second), _mm512_extracti64x4_epi64(second, 1)};
    alignas(16) float scales[kBlocks], lefts[kBlocks], rights[kBlocks], wholes[kBlocks];
    _mm_store_ps(scales, scale);
    for (int b = 0; b < blocks; ++b) {
      const int64_t column = c + b * kPanelColumns;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row.block(column)), codes[b]);
      row.scale(column) = scales[b];
    }
    if (sub == 16) {
      _mm_store_ps(lefts, _mm_mul_ps(scale, _mm_cvtepi32_ps(left)));
      _mm_store_ps(rights, _mm_mul_ps(scale, _mm_cvtepi32_ps(right)));
      for (int b = 0; b < blocks; ++b) {
        sums[c / 16 + 2 * b] = lefts[b];
        sums[c / 16 + 2 * b + 1] = rights[b];
      }
      continue;
    }
    _mm_store_ps(wholes, _mm_mul_ps(scale, _mm_cvtepi32_ps(_mm_add_epi32(left, right))));
    for (int b = 0; b < blocks; ++b) {
      const int64_t end = c + (b + 1) * kPanelColumns;
      sum += wholes[b];
      if ((end & (sub - 1)) != 0) continue;
      *sums++ = sum;
      sum = 0;
    }
  }
}

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
  static const LinearKernels kTable = {tile_tokens, round_row, panels_int8, panels_float, widen_panel, pair_panel};
  return kTable;
}

}  // namespace kvpareto
#pragma GCC pop_options
