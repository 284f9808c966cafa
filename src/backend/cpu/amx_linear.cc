// A thread takes 32 rows of the weight at a time, lays a slice of their columns out as tiles want them, and multiplies
// them by all inputs of a piece, 32 by 32: the slice of the inputs stays in the second-level cache, a block of the
// rows' in the first. tdpbf16ps sums products of pairs:
//   left   x, bf16 [token][column], as it is
//   right  "pairs", bf16 [column / 2][16 rows][2]
//   sums   f32 [token][row], in the result itself
// oneDNN 2.6 lays the whole weight out anew in each call. What else was tried:
// bench/results/2026-11-26-xeon-amx-2core.md.

#include "backend/cpu/amx_linear.h"

#include <immintrin.h>

#include <algorithm>

#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/power_of_two.h"
#include "base/parallel.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

namespace kvpareto {
namespace {

#include "backend/cpu/avx512_helpers-inl.h"

constexpr int64_t kStepColumns = 2 * kTileSide;  // of one tile product
constexpr int64_t kBlockSide = 2 * kTileSide;    // tokens and rows of a block of sums
// Inputs that a layout of the weight is used for: with kSliceColumns they fill half of a second-level cache of 2 MiB.
constexpr int64_t kPieceTokens = 512;
// Columns of a block: with its inputs they fill two thirds of a first-level cache of 48 KiB.
constexpr int64_t kBlockColumns = 256;
constexpr int64_t kPanelPairs = kSliceColumns * kPanelRows;  // bf16 of one panel of a slice

// Scratch of one thread.
struct Space {
  float* slice;
  bf16* pairs;  // of two panels
  static constexpr int64_t kFloats = PanelSlice::kFloats + kPanelPairs;
  explicit Space(float* floats) : slice(floats), pairs(reinterpret_cast<bf16*>(floats + PanelSlice::kFloats)) {}
};

// Columns [begin, begin + columns) of rows [first, first + rows).
struct Slice {
  int64_t begin, columns, first, rows;
};

// --- from rows to pairs

// Rows past the last of the weight are left as they were: no sum of theirs is kept.
void pair_rows(const WeightSegment& weight, int64_t begin, int64_t columns, int64_t first, int64_t rows, bf16* pairs) {
  for (int64_t c = 0; c < columns; c += kStepColumns) {
    __m512i words[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      words[r] = _mm512_loadu_si512(weight.row(first + std::min<int64_t>(r, rows - 1)) + begin + c);
    }
    transpose(words);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) _mm512_storeu_si512(pairs + c * kPanelRows + r * kStepColumns, words[r]);
  }
}

void lay_out(const TileProduct& product, const Slice& slice, const Space& space) {
  const WeightSegment& weight = product.weight;
  for (int64_t r = 0; r < slice.rows; r += kPanelRows) {
    bf16* pairs = space.pairs + r / kPanelRows * kPanelPairs;
    if (weight.is_bf16()) {
      pair_rows(weight, slice.begin, slice.columns, slice.first + r, std::min<int64_t>(slice.rows - r, kPanelRows),
                pairs);
    } else {
      const size_t panel = static_cast<size_t>((slice.first + r) / kPanelRows);
      product.kernels.pair_panel(weight.format, weight.panels() + panel_bytes(weight.format, weight.columns) * panel,
                                 slice.begin, slice.columns, pairs, space.slice);
    }
  }
}

// --- sums of up to 32 tokens by 32 rows

struct Block {
  const bf16* x;
  int64_t x_stride;
  const bf16* pairs;
  int64_t columns;
  float* out;
  int64_t out_stride;
};

template <bool kTall, bool kWide>
void multiply_block(const Block& b, bool begins) {
  const auto x_bytes = b.x_stride * 2, out_bytes = b.out_stride * 4;
  float* below = b.out + kTileSide * b.out_stride;
  if (begins) {
    _tile_zero(0);
    if constexpr (kWide) _tile_zero(1);
    if constexpr (kTall) _tile_zero(2);
    if constexpr (kTall && kWide) _tile_zero(3);
  } else {
    _tile_loadd(0, b.out, out_bytes);
    if constexpr (kWide) _tile_loadd(1, b.out + kTileSide, out_bytes);
    if constexpr (kTall) _tile_loadd(2, below, out_bytes);
    if constexpr (kTall && kWide) _tile_loadd(3, below + kTileSide, out_bytes);
  }
  for (int64_t c = 0; c < b.columns; c += kStepColumns) {
    const bf16* right = b.pairs + c * kPanelRows;
    _tile_loadd(4, b.x + c, x_bytes);
    _tile_loadd(6, right, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kWide) {
      _tile_loadd(7, right + kPanelPairs, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTall) {
      _tile_loadd(5, b.x + c + kTileSide * b.x_stride, x_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kTall && kWide) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, b.out, out_bytes);
  if constexpr (kWide) _tile_stored(1, b.out + kTileSide, out_bytes);
  if constexpr (kTall) _tile_stored(2, below, out_bytes);
  if constexpr (kTall && kWide) _tile_stored(3, below + kTileSide, out_bytes);
}

using Multiply = void (*)(const Block& block, bool begins);
constexpr Multiply kMultiply[2][2] = {{multiply_block<false, false>, multiply_block<false, true>},
                                      {multiply_block<true, false>, multiply_block<true, true>}};

// What the sums of a slice begin with where there is a bias.
void put_bias(const TileProduct& product, const Slice& slice, int64_t tokens, float* out, int64_t out_stride) {
  for (int64_t t = 0; t < tokens; ++t, out += out_stride) {
    for (int64_t r = 0; r < slice.rows; ++r) {
      out[r] = product.bias[slice.first + r] + (product.accumulate ? out[r] : 0.0f);
    }
  }
}

// Inputs [token, token + tokens) by one slice of rows, to out f32 [tokens][rows of the slice].
void multiply_slice(const TileProduct& product, const Slice& slice, int64_t token, int64_t tokens, const Space& space,
                    float* out, int64_t out_stride) {
  lay_out(product, slice, space);
  const bool first = slice.begin == 0;
  if (first && product.bias != nullptr) put_bias(product, slice, tokens, out, out_stride);
  const bool begins = first && product.bias == nullptr && !product.accumulate;
  int64_t configured = 0;
  for (int64_t c = 0; c < slice.columns; c += kBlockColumns) {
    for (int64_t t = 0; t < tokens; t += kBlockSide) {
      const int64_t count = std::min(kBlockSide, tokens - t);
      if (count != configured) {
        TileConfiguration(count, slice.rows).load();
        configured = count;
      }
      kMultiply[count > kTileSide][slice.rows > kTileSide](
          {product.x.row<bf16>(token + t) + slice.begin + c, product.x.row_stride, space.pairs + c * kPanelRows,
           std::min(kBlockColumns, slice.columns - c), out + t * out_stride, out_stride},
          begins && c == 0);
    }
  }
}

// --- gate and up

// Scratch of one thread: that of a product, and sums f32 [tokens of a piece][32] of gate and of up.
struct GateSpace {
  Space space;
  float *gate, *up;
  static constexpr int64_t kSums = kPieceTokens * kBlockSide;
  static constexpr int64_t kFloats = Space::kFloats + 2 * kSums;
  explicit GateSpace(float* floats) : space(floats), gate(floats + Space::kFloats), up(gate + kSums) {}
};

// Every slice of the columns of a piece is used again for each block of rows: it must stay in the cache.
int64_t gate_piece(int64_t columns) {
  const int64_t fits = kPieceTokens * kSliceColumns / columns / kBlockSide * kBlockSide;
  return std::clamp<int64_t>(fits, kPieceTokens / 2, kPieceTokens);
}

// Rows [row, row + 32) of the whole weight.
void multiply_gate_rows(const GatedTileProduct& product, int64_t row, int64_t token, int64_t tokens, const Space& space,
                        float* sums) {
  for (const WeightSegment& segment : product.gate_up.segments()) {
    const int64_t first = row - segment.first_row;
    if (first < 0 || first >= segment.rows) continue;
    const float* bias = product.gate_up.bias() != nullptr ? product.gate_up.bias() + segment.first_row : nullptr;
    const TileProduct part{segment, product.kernels, bias, false, product.x, {}};
    for (int64_t begin = 0; begin < segment.columns; begin += kSliceColumns) {
      multiply_slice(part, {begin, std::min(kSliceColumns, segment.columns - begin), first, kBlockSide}, token, tokens,
                     space, sums, kBlockSide);
    }
  }
}

inline __m512 silu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(x, _mm512_add_ps(one, power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(-kLog2E)))));
}

void join_gate(const float* gate, const float* up, int64_t tokens, bf16* out, int64_t out_stride) {
  for (int64_t t = 0; t < tokens; ++t, gate += kBlockSide, up += kBlockSide, out += out_stride) {
    const __m512 low = _mm512_mul_ps(silu(_mm512_loadu_ps(gate)), _mm512_loadu_ps(up));
    const __m512 high = _mm512_mul_ps(silu(_mm512_loadu_ps(gate + kTileSide)), _mm512_loadu_ps(up + kTileSide));
    _mm512_storeu_si512(out, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

}  // namespace

size_t tiles_scratch_bytes() { return static_cast<size_t>(thread_count() * Space::kFloats) * sizeof(float); }

void multiply_tiles(const TileProduct& product, void* scratch) {
  const int64_t rows = product.weight.rows, columns = product.weight.columns;
  parallel_ranges(rows, kBlockSide, [&](int64_t first, int64_t last) {
    const Space space(static_cast<float*>(scratch) + thread_number() * Space::kFloats);
    for (int64_t token = 0; token < product.x.rows(); token += kPieceTokens) {
      const int64_t tokens = std::min(kPieceTokens, product.x.rows() - token);
      for (int64_t begin = 0; begin < columns; begin += kSliceColumns) {
        for (int64_t row = first; row < last; row += kBlockSide) {
          multiply_slice(product,
                         {begin, std::min(kSliceColumns, columns - begin), row, std::min(kBlockSide, last - row)},
                         token, tokens, space, product.out.row<float>(token) + row, product.out.row_stride);
        }
      }
    }
    _tile_release();
  });
}

bool gate_fits(const LinearSpec& spec) {
  bool fits = spec.rows() % (2 * kBlockSide) == 0;
  for (const LinearSpec::Part& part : spec.parts) fits = fits && part.rows % kBlockSide == 0;
  return fits;
}

size_t gated_tiles_scratch_bytes() { return static_cast<size_t>(thread_count() * GateSpace::kFloats) * sizeof(float); }

void multiply_gated_tiles(const GatedTileProduct& product, void* scratch) {
  const int64_t n = product.gate_up.rows() / 2, piece = gate_piece(product.gate_up.columns());
  parallel_ranges(n, kBlockSide, [&](int64_t first, int64_t last) {
    const GateSpace space(static_cast<float*>(scratch) + thread_number() * GateSpace::kFloats);
    for (int64_t token = 0; token < product.x.rows(); token += piece) {
      const int64_t tokens = std::min(piece, product.x.rows() - token);
      for (int64_t row = first; row < last; row += kBlockSide) {
        multiply_gate_rows(product, row, token, tokens, space.space, space.gate);
        multiply_gate_rows(product, n + row, token, tokens, space.space, space.up);
        join_gate(space.gate, space.up, tokens, product.out.row<bf16>(token) + row, product.out.row_stride);
      }
    }
    _tile_release();
  });
}

}  // namespace kvpareto

#pragma GCC pop_options
