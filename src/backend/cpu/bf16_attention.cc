// Prefill attention with the products of AVX-512 (vdpbf16ps). Over keys and values in bf16, queries and weights are
// rounded as what they are multiplied with was, and so where only one of both is stored so; keys of few bits that must
// be decoded are rounded too. docs/METHODS.md, "Attention".

#include "backend/cpu/bf16_attention.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "backend/cpu/power_of_two.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace kvpareto {
namespace {

#include "backend/cpu/avx512_helpers-inl.h"
//
#include "backend/cpu/bf16_attention-inl.h"

constexpr int kOut = 8;  // values of i at once: by three vectors their sums are 24 of 32 registers

// A pair in every lane.
inline __m512bh same_pairs(const bf16* pair) {
  int32_t both;
  std::memcpy(&both, pair, sizeof(both));
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(both));
}

template <int kVectors>
void multiply_part(const Product& p, int64_t i, int64_t r) {
  float* place = p.sums + i * p.rows + r;
  __m512 sums[kOut][kVectors];
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v)
      sums[o][v] = p.accumulate ? _mm512_loadu_ps(place + o * p.rows + 16 * v) : _mm512_setzero_ps();
  }
  p.each_term([&](const bf16* lefts, const bf16* rights) {
    const bf16* left = lefts + i * p.left_stride;
    const bf16* right = rights + 2 * r;
    for (int64_t j = 0; j < p.inner; j += 2, left += 2, right += 2 * p.rows) {
      __m512bh in[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) in[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + 32 * v));
#pragma GCC unroll 8
      for (int o = 0; o < kOut; ++o) {
        const __m512bh factor = same_pairs(left + o * p.left_stride);
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sums[o][v] = _mm512_dpbf16_ps(sums[o][v], factor, in[v]);
      }
    }
  });
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(place + o * p.rows + 16 * v, sums[o][v]);
  }
}

void multiply(const Product& p) {
  for (int64_t i = 0; i < p.out; i += kOut) {
    for (int64_t r = 0; r < p.rows;) {
      const int64_t left = (p.rows - r) / 16;
      // One vector alone would wait for its own sums.
      if (left == 1) {
        multiply_part<1>(p, i, r);
        r += 16;
      } else if (left == 2 || left == 4) {
        multiply_part<2>(p, i, r);
        r += 32;
      } else {
        multiply_part<3>(p, i, r);
        r += 48;
      }
    }
  }
}

void round_queries(const float* queries, int64_t head_dim, int64_t rows, bf16* out) {
  for (int64_t c = 0; c < head_dim; c += 2) {
    const float* even = queries + c * rows;
    for (int64_t r = 0; r < rows; r += 16) {
      const __m512i pairs =
          upper_halves(rounded_up(_mm512_loadu_ps(even + r)), rounded_up(_mm512_loadu_ps(even + rows + r)));
      _mm512_storeu_si512(out + c * rows + 2 * r, pairs);
    }
  }
}

// Numbers become bf16 in the same place.
bf16* round_rows(float* rows, int64_t n) {
  auto* rounded = reinterpret_cast<bf16*>(rows);
  for (int64_t i = 0; i < n; i += 16) {
    const __m256bh sixteen = _mm512_cvtneps_pbh(_mm512_loadu_ps(rows + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rounded + i), reinterpret_cast<__m256i>(sixteen));
  }
  return rounded;
}

void score(float* keys, int64_t count, const bf16* queries, int64_t head_dim, int64_t rows, float* scores) {
  const bf16* rounded = round_rows(keys, count * head_dim);
  multiply(Product{{rounded, nullptr}, {queries, nullptr}, count, head_dim, rows, head_dim, scores, false});
}

void add(float* values, int64_t count, const float* weights, int64_t head_dim, int64_t rows, bf16* rounded,
         float* sums) {
  bf16* rounded_values = round_rows(values, count * head_dim);
  std::fill_n(rounded_values + count * head_dim, (kTile - count) * head_dim, bf16{});
  bf16* turned = rounded_values + kTile * head_dim;
  transpose_values(rounded_values, head_dim, turned);
  for (int64_t k = 0; k < kTile; k += 2) {
    for (int64_t r = 0; r < rows; r += 16) {
      const auto weight = [&](int64_t of) {
        return of < count ? rounded_up(_mm512_loadu_ps(weights + of * rows + r)) : _mm512_setzero_si512();
      };
      _mm512_storeu_si512(rounded + k * rows + 2 * r, upper_halves(weight(k), weight(k + 1)));
    }
  }
  multiply(Product{{turned, nullptr}, {rounded, nullptr}, head_dim, kTile, rows, kTile, sums, true});
}

}  // namespace

const RowProducts& bf16_row_products() {
  static constexpr RowProducts kProducts{round_queries, score, add};
  return kProducts;
}

void attend_block_bf16(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                       float* scratch) {
  attend_block_by<false>(job, vectors, kv_head, begin, count, scratch, multiply);
}

}  // namespace kvpareto

#pragma GCC pop_options
