// Products of one token's queries with a tile of the cache by AMX (tdpbsud, tdpbf16ps). Eight queries take half the
// rows of a tile; a factor that the tile's numbers cannot hold stands in two rows, its upper part in i, the rest in
// kTileQueries + i. Codes are multiplied as they are, 64 at once, and the sums are those of int16 products, exactly.

#include "backend/cpu/amx_products.h"

#include <immintrin.h>

#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/power_of_two.h"

// g++ 12's own intrinsics begin with a variable that is its own value.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,bmi2,amx-tile,amx-bf16,amx-int8")

namespace kvpareto {
namespace {

#include "backend/cpu/avx512_helpers-inl.h"

constexpr int kTileBytes = 64;          // of a row
constexpr int kPairs = kTileBytes / 2;  // pairs of codes in the depth of a tile
static_assert(kPairs == CodeChunks::kPairs);
constexpr int kMostSteps = kLargestHead / kTileBytes;
constexpr int kTiles = 4;  // of sums at once

// Of tiles 0 to 3.
inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
template <typename Sum>
inline void store_sums(Sum (&sums)[kTiles][kTileSide][kTileSide]) {
  _tile_stored(0, sums[0], kTileBytes);
  _tile_stored(1, sums[1], kTileBytes);
  _tile_stored(2, sums[2], kTileBytes);
  _tile_stored(3, sums[3], kTileBytes);
}

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// --- codes

// Rows [count][2 * pairs] of int16 by bytes, both of them signed: upper and lower ones as the file says; zeros behind
// them.
void split_bytes(const int16_t* x, int64_t step, int64_t count, int64_t pairs,
                 int8_t (*left)[2 * kTileQueries][kTileBytes]) {
  for (int64_t p = 0; p < pairs; p += kPairs, ++left) {
    const int64_t n = 2 * least(pairs - p, kPairs);
    const auto held = [n](int64_t from) {
      const int64_t more = n - from;
      return static_cast<__mmask32>(more >= 32 ? ~0u : more <= 0 ? 0u : (1u << more) - 1);
    };
    for (int64_t i = 0; i < count; ++i) {
      const int16_t* row = x + i * step + 2 * p;
      for (int64_t half = 0; half < 2; ++half) {
        const __m512i words = _mm512_maskz_loadu_epi16(held(32 * half), row + 32 * half);
        const __m512i upper = _mm512_srai_epi16(_mm512_add_epi16(words, _mm512_set1_epi16(128)), 8);
        _mm256_store_si256(reinterpret_cast<__m256i*>((*left)[i] + 32 * half), _mm512_cvtepi16_epi8(upper));
        _mm256_store_si256(reinterpret_cast<__m256i*>((*left)[kTileQueries + i] + 32 * half),
                           _mm512_cvtepi16_epi8(words));
      }
    }
  }
}

struct Lanes16 {
  __m512 scales, minimums;
  float middle;
};

inline void finish(const int32_t (*sums)[kTileSide], int64_t count, const Rounded* rounded, const Lanes16& lanes,
                   bool accumulate, float* out, int64_t out_stride) {
  for (int64_t i = 0; i < count; ++i, out += out_stride) {
    const __m512i upper = _mm512_load_si512(sums[i]), lower = _mm512_load_si512(sums[kTileQueries + i]);
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(upper, 8), lower));
    const __m512 products =
        _mm512_fmadd_ps(sum, _mm512_set1_ps(rounded[i].step), _mm512_set1_ps(lanes.middle * rounded[i].rest));
    __m512 total = _mm512_mul_ps(lanes.minimums, _mm512_set1_ps(rounded[i].sum));
    if (accumulate) total = _mm512_add_ps(total, _mm512_loadu_ps(out));
    _mm512_storeu_ps(out, _mm512_fmadd_ps(products, lanes.scales, total));
  }
}

template <Codec kCodec>
void add_unpacked(const CodeProducts& all, const int8_t (*left)[2 * kTileQueries][kTileBytes]) {
  const Fours<kCodec> fours;
  const CodeChunks& codes = all.codes;
  alignas(64) uint8_t right[kTiles][kTileSide][kTileBytes];
  alignas(64) int32_t sums[kTiles][kTileSide][kTileSide];
  if (all.pairs % kPairs != 0) __builtin_memset(right, 0, sizeof right);  // rows that meet zeros
  for (int64_t l = 0; l < all.width; l += kTiles * kLanes) {
    const int64_t tiles = least((all.width - l + kLanes - 1) / kLanes, kTiles);
    clear_sums();
    for (int64_t p = 0, step = 0; p < all.pairs; p += kPairs, ++step) {
      const int64_t rows = least(all.pairs - p, kPairs) / 2;
      const uint8_t* first = codes.first + step * codes.pairs + l / kBlockTokens * codes.block;
      const auto unpack = [&](int64_t t) {
        const uint8_t* chunk = first + t * codes.across;
        for (int64_t r = 0; r < rows; ++r, chunk += 2 * codes.pair) {
          _mm512_store_si512(right[t][r], fours.row(chunk, chunk + codes.pair));
        }
      };
      // A tile is loaded when the next one is unpacked: what was just stored cannot be read at once.
      unpack(0);
      if (tiles > 1) unpack(1);
      _tile_loadd(4, left[step], kTileBytes);
      _tile_loadd(5, right[0], kTileBytes);
      _tile_dpbsud(0, 4, 5);
      if (tiles > 2) unpack(2);
      if (tiles > 1) {
        _tile_loadd(6, right[1], kTileBytes);
        _tile_dpbsud(1, 4, 6);
      }
      if (tiles > 3) unpack(3);
      if (tiles > 2) {
        _tile_loadd(7, right[2], kTileBytes);
        _tile_dpbsud(2, 4, 7);
      }
      if (tiles > 3) {
        _tile_loadd(5, right[3], kTileBytes);
        _tile_dpbsud(3, 4, 5);
      }
    }
    store_sums(sums);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t at = l + t * kLanes;
      const Lanes16 lanes{_mm512_loadu_ps(all.affine.scales + at), _mm512_loadu_ps(all.affine.minimums + at),
                          all.affine.middle};
      finish(sums[t], all.count, all.rounded, lanes, all.accumulate, all.out + at, all.out_stride);
    }
  }
}

void add_codes(const CodeProducts& all) {
  alignas(64) int8_t left[kMostSteps][2 * kTileQueries][kTileBytes];
  split_bytes(all.x, all.step, all.count, all.pairs, left);
  switch (all.codes.codec) {
    case Codec::kBf16:
      return;
    case Codec::kInt8:
      return add_unpacked<Codec::kInt8>(all, left);
    case Codec::kInt4:
      return add_unpacked<Codec::kInt4>(all, left);
    case Codec::kInt3:
      return add_unpacked<Codec::kInt3>(all, left);
    case Codec::kInt2:
      return add_unpacked<Codec::kInt2>(all, left);
  }
}

// --- rows of bf16

// f32 as the sum of two bf16, in the order of their lanes.
struct Halves {
  __m512i upper, lower;
};
// Of 32 numbers.
inline Halves split(__m512 first, __m512 second) {
  const auto bits = [](__m512bh x) { return reinterpret_cast<__m512i>(x); };
  const __m512i upper = bits(_mm512_cvtne2ps_pbh(second, first));
  const __m512i low = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(upper)), 16);
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(upper, 1)), 16);
  return {upper, bits(_mm512_cvtne2ps_pbh(_mm512_sub_ps(second, _mm512_castsi512_ps(high)),
                                          _mm512_sub_ps(first, _mm512_castsi512_ps(low))))};
}

void split_queries(const float* queries, int64_t count, int64_t head_dim, bf16* out) {
  for (int64_t c = 0; c < head_dim; c += 32) {
    __m512i rows[2 * kTileQueries] = {};
    for (int64_t i = 0; i < count; ++i) {
      const float* query = queries + i * head_dim + c;
      const Halves halves = split(_mm512_loadu_ps(query), _mm512_loadu_ps(query + 16));
      rows[i] = halves.upper;
      rows[kTileQueries + i] = halves.lower;
    }
    transpose(rows);
    for (int64_t pair = 0; pair < 16; ++pair) {
      _mm512_storeu_si512(out + (c / 2 + pair) * 4 * kTileQueries, rows[pair]);
    }
  }
}

// Tells the memory of the next block of rows while this one is multiplied.
inline void prefetch_block(const bf16* rows, int64_t head_dim) {
  const auto* next = reinterpret_cast<const char*>(rows + kBlockTokens * head_dim);
  for (int64_t at = 0; at < kBlockTokens * head_dim * 2; at += 64) _mm_prefetch(next + at, _MM_HINT_T0);
}

void score_rows(const bf16* queries, int64_t count, const bf16* keys, int64_t tokens, int64_t head_dim, float* scores,
                int64_t score_stride) {
  alignas(64) float sums[kTiles][kTileSide][kTileSide];
  const int64_t stride = head_dim * 2;
  for (int64_t k = 0; k < tokens; k += kBlockTokens, keys += kBlockTokens * head_dim) {
    prefetch_block(keys, head_dim);
    clear_sums();
    for (int64_t c = 0; c < head_dim; c += 32) {
      _tile_loadd(4, queries + c * 2 * kTileQueries, kTileBytes);
      _tile_loadd(5, keys + c, stride);
      _tile_dpbf16ps(0, 5, 4);
      _tile_loadd(6, keys + 16 * head_dim + c, stride);
      _tile_dpbf16ps(1, 6, 4);
      _tile_loadd(7, keys + 32 * head_dim + c, stride);
      _tile_dpbf16ps(2, 7, 4);
      _tile_loadd(5, keys + 48 * head_dim + c, stride);
      _tile_dpbf16ps(3, 5, 4);
    }
    store_sums(sums);
    for (int64_t t = 0; t < kTiles; ++t) {
      __m512i rows[kTileSide];
      for (int i = 0; i < kTileSide; ++i) rows[i] = _mm512_load_si512(sums[t][i]);
      transpose(rows);
      for (int64_t i = 0; i < count; ++i) {
        const __m512 both = _mm512_add_ps(_mm512_castsi512_ps(rows[i]), _mm512_castsi512_ps(rows[kTileQueries + i]));
        _mm512_storeu_ps(scores + i * score_stride + k + t * kTileSide, both);
      }
    }
  }
}

// 16 pairs of rows of values as two tiles of 16 channels.
inline void pair_rows(const Pairing& pairing, const bf16* values, int64_t head_dim, bf16 (*right)[kTileSide][32]) {
  for (int64_t pair = 0; pair < kTileSide; ++pair, values += 2 * head_dim) {
    const __m512i a = _mm512_loadu_si512(values), b = _mm512_loadu_si512(values + head_dim);
    _mm512_store_si512(right[0][pair], pairing.low(a, b));
    _mm512_store_si512(right[1][pair], pairing.high(a, b));
  }
}

void add_rows(const float* weights, int64_t weight_stride, int64_t count, const bf16* values, int64_t tokens,
              int64_t head_dim, float* sums) {
  constexpr int kSteps = kRun / 32;
  alignas(64) bf16 left[kSteps][2 * kTileQueries][32], right[2][2][kTileSide][32];
  alignas(64) float products[2][kTileSide][kTileSide];
  const Pairing pairing;
  const int64_t steps = tokens / 32;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t i = 0; i < count; ++i) {
      const float* row = weights + i * weight_stride + 32 * s;
      const Halves halves = split(_mm512_loadu_ps(row), _mm512_loadu_ps(row + 16));
      _mm512_store_si512(left[s][i], halves.upper);
      _mm512_store_si512(left[s][kTileQueries + i], halves.lower);
    }
  }
  for (int64_t k = 0; k < tokens; k += kBlockTokens) prefetch_block(values + k * head_dim, head_dim);
  for (int64_t c = 0; c < head_dim; c += 32) {
    _tile_zero(0);
    _tile_zero(1);
    pair_rows(pairing, values + c, head_dim, right[0]);
    for (int64_t s = 0; s < steps; ++s) {
      // One step ahead of the tiles: what was just stored cannot be read at once.
      if (s + 1 < steps) pair_rows(pairing, values + (s + 1) * 32 * head_dim + c, head_dim, right[(s + 1) % 2]);
      _tile_loadd(4, left[s], kTileBytes);
      _tile_loadd(5, right[s % 2][0], kTileBytes);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(6, right[s % 2][1], kTileBytes);
      _tile_dpbf16ps(1, 4, 6);
    }
    _tile_stored(0, products[0], kTileBytes);
    _tile_stored(1, products[1], kTileBytes);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t half = 0; half < 2; ++half) {
        float* sum = sums + i * head_dim + c + 16 * half;
        const __m512 both =
            _mm512_add_ps(_mm512_load_ps(products[half][i]), _mm512_load_ps(products[half][kTileQueries + i]));
        _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), both));
      }
    }
  }
}

void begin() { TileConfiguration().load(); }
void end() { _tile_release(); }

}  // namespace

const TileProducts& amx_products() {
  static constexpr TileProducts kProducts = {begin, end, add_codes, split_queries, score_rows, add_rows};
  return kProducts;
}

}  // namespace kvpareto

#pragma GCC pop_options
