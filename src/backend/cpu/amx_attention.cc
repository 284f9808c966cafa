// Prefill attention with the bf16 products of AMX (tdpbf16ps). Queries and weights stand as two bf16: rounding to one
// doubled the error of int8 keys, and products are a third of the time.

#include "backend/cpu/amx_attention.h"

#include <immintrin.h>

#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/power_of_two.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

namespace kvpareto {
namespace {

#include "backend/cpu/avx512_helpers-inl.h"
//
#include "backend/cpu/bf16_attention-inl.h"

// Tiles 0-3 are sums (two rows of tiles by two columns), 4-5 left, 6-7 right.
inline void load_sums(const Product& p, float* sums, bool wide) {
  if (!p.accumulate) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  const int64_t stride = p.rows * 4;
  _tile_loadd(0, sums, stride);
  _tile_loadd(2, sums + 16 * p.rows, stride);
  if (!wide) return;
  _tile_loadd(1, sums + 16, stride);
  _tile_loadd(3, sums + 16 * p.rows + 16, stride);
}

inline void add_term(const Product& p, const bf16* lefts, const bf16* rights, int64_t i, int64_t r, bool wide) {
  for (int64_t j = 0; j < p.inner; j += 32) {
    const bf16* left = lefts + i * p.left_stride + j;
    const bf16* right = rights + j * p.rows + 2 * r;
    _tile_loadd(4, left, p.left_stride * 2);
    _tile_loadd(5, left + 16 * p.left_stride, p.left_stride * 2);
    _tile_loadd(6, right, p.rows * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if (!wide) continue;
    _tile_loadd(7, right + 32, p.rows * 4);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void multiply(const Product& p) {
  const int64_t stride = p.rows * 4;
  for (int64_t i = 0; i < p.out; i += 32) {
    for (int64_t r = 0; r < p.rows; r += 32) {
      const bool wide = r + 32 <= p.rows;
      float* sums = p.sums + i * p.rows + r;
      load_sums(p, sums, wide);
      p.each_term([&](const bf16* left, const bf16* right) { add_term(p, left, right, i, r, wide); });
      _tile_stored(0, sums, stride);
      _tile_stored(2, sums + 16 * p.rows, stride);
      if (!wide) continue;
      _tile_stored(1, sums + 16, stride);
      _tile_stored(3, sums + 16 * p.rows + 16, stride);
    }
  }
}

}  // namespace

void attend_block_amx(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                      float* scratch) {
  TileConfiguration().load();
  attend_block_by<true>(job, vectors, kv_head, begin, count, scratch, multiply);
  _tile_release();
}

}  // namespace kvpareto

#pragma GCC pop_options
