// Products of quantized weights in AVX2. Codes of up to six bits are multiplied by vpmaddubsw, whose 16-bit sums hold
// several steps (15 * 127 * 2 is a ninth of what fits, 63 * 127 * 2 half); those of eight bits by vpmaddwd.

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
#pragma GCC target("avx2,fma,f16c")

namespace kvpareto {
namespace {

constexpr int kMostTokens = 6;      // of a tile: twelve sums, two vectors of codes, one of inputs
constexpr int kMostByteTokens = 4;  // where codes have eight bits
constexpr int kMostFloatTokens = 4;

struct Vectors {
  using Float = __m256;
  using Codes = __m256i;
  static constexpr int kParts = 2;   // vectors of sixteen rows
  static constexpr int kPanels = 1;  // of a tile

  KVPARETO_INLINE static Float load(const float* from) { return _mm256_loadu_ps(from); }
  KVPARETO_INLINE static void store(Float x, float* to) { _mm256_storeu_ps(to, x); }
  KVPARETO_INLINE static Float all(float x) { return _mm256_set1_ps(x); }
  KVPARETO_INLINE static Float root(Float x) { return _mm256_sqrt_ps(x); }
  KVPARETO_INLINE static Float multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  KVPARETO_INLINE static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  KVPARETO_INLINE static Float less_product(Float c, Float a, Float b) { return _mm256_fnmadd_ps(a, b, c); }
  KVPARETO_INLINE static Codes load_codes(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  KVPARETO_INLINE static void store_codes(Codes codes, uint8_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
  }
  KVPARETO_INLINE static Codes all_wholes(int32_t whole) { return _mm256_set1_epi32(whole); }
  KVPARETO_INLINE static Codes all_bytes(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  KVPARETO_INLINE static Codes both(Codes a, Codes b) { return _mm256_and_si256(a, b); }
  KVPARETO_INLINE static Codes either(Codes a, Codes b) { return _mm256_or_si256(a, b); }
  KVPARETO_INLINE static Codes right(Codes a, int bits) { return _mm256_srli_epi16(a, bits); }
  KVPARETO_INLINE static Codes left(Codes a, int bits) { return _mm256_slli_epi16(a, bits); }
  // Byte i of each 32-bit lane as a number.
  KVPARETO_INLINE static Float byte_of(Codes codes, int i) {
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(codes, 8 * i), _mm256_set1_epi32(255)));
  }
  KVPARETO_INLINE static void widen_halves(const uint8_t* halves, float* to) {
    for (int p = 0; p < 2; ++p) {
      const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves) + p);
      _mm256_storeu_ps(to + 8 * p, _mm256_cvtph_ps(half));
    }
  }
  KVPARETO_INLINE static __m256i four_inputs(const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, sizeof four);
    return all_wholes(four);
  }

  // Codes of eight bits enter as code - 128, which is what their offset takes away.
  static constexpr bool takes_offsets(const WeightCodecInfo& info) { return info.low_bits + info.high_bits != 8; }

  // Whole-number sums of a few steps, [tokens][parts].
  template <typename Kind, int kTokens, int kTilePanels>
  struct Dot {
    static_assert(kTilePanels == 1);
    static constexpr int kBits = Kind::kBits;
    __m256i sums[kTokens][kParts];

    // Overwrites the sums with the products of steps [kFirst, kFirst + kCount) of a block.
    template <int kFirst, int kCount, typename Block>
    KVPARETO_INLINE void add(Block block, const int8_t* x, const int32_t* /*starts*/) {
      // As many steps as fit a 16-bit sum.
      constexpr int kRun = std::min(kCount, kBits <= 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1);
#pragma GCC unroll 8
      for (int step = 0; step < kCount; step += kRun) {
        if constexpr (kBits == 8) {
          add_bytes(block, kFirst + step, x, step == 0);
        } else {
          add_run<kRun>(block, kFirst + step, x, step == 0);
        }
      }
    }
    KVPARETO_INLINE __m256 whole(int t, int p) const { return _mm256_cvtepi32_ps(sums[t][p]); }

   private:
    // In assembly, since g++ 12 computes the products of all steps before it adds the first, and spills them.
    KVPARETO_INLINE static void add_products(__m256i& sum, __m256i codes, __m256i inputs) {
      __m256i products;
      __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(codes), "x"(inputs));
    }
    KVPARETO_INLINE static void add_wide_products(__m256i& sum, __m256i sizes, __m256i inputs, __m256i ones) {
      __m256i products;
      __asm__("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
              : "+x"(sum), "=&x"(products)
              : "x"(sizes), "x"(inputs), "x"(ones));
    }

    template <int kRun, typename Block>
    KVPARETO_INLINE void add_run(Block block, int begin, const int8_t* x, bool first) {
      __m256i narrow[kTokens][kParts];
#pragma GCC unroll 8
      for (int step = begin; step < begin + kRun; ++step) {
        const Codes low = block.at(step, 0), high = block.at(step, 1);
#pragma GCC unroll 6
        for (int t = 0; t < kTokens; ++t) {
          const __m256i inputs = four_inputs(x + t * kPanelColumns + 4 * step);
          if (step == begin) {
            narrow[t][0] = _mm256_maddubs_epi16(low, inputs);
            narrow[t][1] = _mm256_maddubs_epi16(high, inputs);
          } else {
            add_products(narrow[t][0], low, inputs);
            add_products(narrow[t][1], high, inputs);
          }
        }
      }
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int p = 0; p < kParts; ++p) {
          const __m256i wide = _mm256_madd_epi16(narrow[t][p], _mm256_set1_epi16(1));
          sums[t][p] = first ? wide : _mm256_add_epi32(sums[t][p], wide);
        }
      }
    }

    // |w| (x with the sign of w): 128 * 127 * 2 fits 16 bits, once.
    template <typename Block>
    KVPARETO_INLINE void add_bytes(Block block, int step, const int8_t* x, bool first) {
      const __m256i ones = _mm256_set1_epi16(1), middle = all_bytes(-128);
      const __m256i low = _mm256_xor_si256(block.at(step, 0), middle);
      const __m256i high = _mm256_xor_si256(block.at(step, 1), middle);
      const __m256i low_size = _mm256_abs_epi8(low), high_size = _mm256_abs_epi8(high);
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        const __m256i inputs = four_inputs(x + t * kPanelColumns + 4 * step);
        const __m256i low_inputs = _mm256_sign_epi8(inputs, low), high_inputs = _mm256_sign_epi8(inputs, high);
        if (first) {
          sums[t][0] = _mm256_madd_epi16(_mm256_maddubs_epi16(low_size, low_inputs), ones);
          sums[t][1] = _mm256_madd_epi16(_mm256_maddubs_epi16(high_size, high_inputs), ones);
        } else {
          add_wide_products(sums[t][0], low_size, low_inputs, ones);
          add_wide_products(sums[t][1], high_size, high_inputs, ones);
        }
      }
    }
  };
};
static_assert(std::ranges::all_of(kWeightCodecs, [](const WeightCodecInfo& info) {
  return info.low_bits + info.high_bits != 8 || (info.zero == 128 && info.halves == 1 && info.bytes == 0);
}));

// Each uses those above it.
// clang-format off
#include "backend/cpu/linear_unpack-inl.h"
#include "backend/cpu/linear_tiles-inl.h"
#include "backend/cpu/linear_streams-inl.h"
#include "backend/cpu/linear_bounds-inl.h"
#include "backend/cpu/linear_panels-inl.h"
// clang-format on

// round_inputs() of host_linear.h, 32 inputs at a time.
KVPARETO_INLINE float round_block(const float* x, int8_t* codes) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 in[4], largest = _mm256_setzero_ps(), poison = _mm256_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    in[i] = _mm256_loadu_ps(x + 8 * i);
    largest = _mm256_max_ps(_mm256_andnot_ps(sign, in[i]), largest);
    poison = _mm256_fmadd_ps(in[i], _mm256_setzero_ps(), poison);
  }
  const auto across = [](__m256 v, auto join) {
    __m128 half = join(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = join(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(join(half, _mm_movehdup_ps(half)));
  };
  const float most = across(largest, [](__m128 a, __m128 b) { return _mm_max_ps(a, b); });
  const float bad = across(poison, [](__m128 a, __m128 b) { return _mm_add_ps(a, b); });
  const __m256 inverse = _mm256_set1_ps(most > kSmallestInput ? 127.0f / most : 0.0f);
  __m256i whole[4];
  for (int i = 0; i < 4; ++i) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(in[i], inverse));
  const __m256i packed =
      _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
  // Packing works on halves of a vector: their fours are put back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permutevar8x32_epi32(packed, order));
  return most / 127.0f + bad;
}

// Sums of the first and the last sixteen codes.
KVPARETO_INLINE std::pair<int, int> half_sums(const int8_t* codes) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  // Sums of absolute differences from -128 are sums.
  const __m256i sums = _mm256_sad_epu8(_mm256_xor_si256(all, _mm256_set1_epi8(-128)), _mm256_setzero_si256());
  const auto first = _mm256_extract_epi64(sums, 0) + _mm256_extract_epi64(sums, 1);
  const auto second = _mm256_extract_epi64(sums, 2) + _mm256_extract_epi64(sums, 3);
  return {static_cast<int>(first) - 128 * 16, static_cast<int>(second) - 128 * 16};
}

void round_row(const Tensor& row_of_x, const WeightFormat& format, const RoundedRow& row, float* sums) {
  const float* x = row_of_x.as<float>();
  const int64_t columns = row_of_x.columns(), sub = format.sub();
  float sum = 0;
  for (int64_t c = 0; c < columns; c += kPanelColumns) {
    const float scale = round_block(x + c, row.block(c));
    row.scale(c) = scale;
    const auto [first, second] = half_sums(row.block(c));
    if (sub == 16) {
      sums[c / 16] = scale * static_cast<float>(first);
      sums[c / 16 + 1] = scale * static_cast<float>(second);
      continue;
    }
    sum += scale * static_cast<float>(first + second);
    if ((c + kPanelColumns) % sub != 0) continue;
    sums[c / sub] = sum;
    sum = 0;
  }
}

const LinearKernels kTable = {tile_tokens, round_row, panels_int8, panels_float, bound_panels, widen_panel, nullptr};

}  // namespace

const LinearKernels& avx2_linear_kernels() { return kTable; }

}  // namespace kvpareto
#pragma GCC pop_options
