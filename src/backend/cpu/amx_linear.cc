// Inputs are laid out as tiles, once for all threads. A thread takes two panels of the weight at a time, lays a slice
// of their columns out as well, and multiplies them by all inputs of a piece, 32 by 32: a block of the rows' columns
// stays in the first-level cache, the inputs come past it from the second (tileloaddt1 does not keep them), and the
// sums, told of a block ahead, too. tdpbf16ps sums products of pairs:
//   left   x, bf16 [token][column]
//   right  "pairs", bf16 [column / 2][16 rows][2]
//   sums   f32 [token][row]
// Vectors work in the shadow of the tiles: between two steps they lay out a few columns of the next slice and put a
// token's finished sums into the result.
// oneDNN 2.6 lays the whole weight out anew in each call. What else was tried:
// bench/results/2026-11-26-xeon-amx-2core.md and 2026-11-29-xeon-amx-2core.md.

#include "backend/cpu/amx_linear.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/power_of_two.h"
#include "base/parallel.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

namespace kvpareto {
namespace {

#include "backend/cpu/avx512_helpers-inl.h"
//
#include "backend/cpu/tile_layout-inl.h"

// Inputs that a layout of the weight is used for: with kSliceColumns they fill half of a second-level cache of 2 MiB.
constexpr int64_t kPieceTokens = 512;
// Columns of a block at most: its rows fill two thirds of a first-level cache of 48 KiB.
constexpr int64_t kBlockColumns = 512;
constexpr int64_t kBlockSums = kBlockSide * kBlockSide;
constexpr int64_t kPieceSums = kPieceTokens * kBlockSide;

// --- scratch: laid-out inputs for all threads, and of each thread a slice on its way, two of pairs, and sums

struct Space {
  bf16* inputs;
  float* unpacked;
  bf16* pairs[2];
  float* sums;  // [tokens / 16][2 panels][16][16]

  static constexpr int64_t kOfThread = Pairs::kScratch + 2 * kPanelPairs + kPieceSums;  // floats
  static int64_t input_floats(int64_t tokens, int64_t columns) {
    return whole_blocks(tokens) * kBlockSide * columns / 2;
  }
  static size_t bytes(int64_t tokens, int64_t columns) {
    return static_cast<size_t>(input_floats(tokens, columns) + thread_count() * kOfThread) * sizeof(float);
  }
  // Of the calling thread.
  Space(void* scratch, int64_t tokens, int64_t columns) {
    auto* floats = static_cast<float*>(scratch);
    inputs = reinterpret_cast<bf16*>(floats);
    unpacked = floats + input_floats(tokens, columns) + thread_number() * kOfThread;
    pairs[0] = reinterpret_cast<bf16*>(unpacked + Pairs::kScratch);
    pairs[1] = pairs[0] + 2 * kPanelPairs;
    sums = unpacked + Pairs::kScratch + 2 * kPanelPairs;
  }
};

struct Inputs {
  const bf16* tiles;
  int64_t tokens, columns;
};

// One slice times all inputs of a piece, whose columns of it begin at `column`.
struct Part {
  Slice slice;
  int64_t column;
  bool begins, ends;  // the sums
};

// Where the sums of a token by the first panel lie; those by the other one a tile behind them.
KVPARETO_INLINE int64_t place_of(int64_t t) { return t / kTileSide * 2 * kTile + t % kTileSide * kTileSide; }

// --- the shadow

// What there is to do between steps: finish(t) for tokens whose sums are complete, and the pairs of the next part.
template <typename Finish>
class Shadow {
 public:
  // The part about to be multiplied has so many steps in all.
  void begin_part(std::optional<Pairs>& next, int64_t steps) {
    next_ = next ? &*next : nullptr;
    pairs_ = {next ? next->left() : 0, steps};
  }
  // A block of so many steps is about to be multiplied.
  void begin_block(int64_t steps) { tokens_ = {end_ - token_, steps}; }
  // Tokens [first, last) are complete; the sums of those before must have been finished.
  void add(const Finish& finish, int64_t first, int64_t last) {
    finish_.emplace(finish);
    token_ = first;
    end_ = last;
  }

  KVPARETO_INLINE void work() {
    for (int64_t n = tokens_.due(); n > 0; --n) (*finish_)(token_++);
    for (int64_t n = pairs_.due(); n > 0; --n) next_->make_some();
  }
  void finish_rest() {
    while (token_ < end_) (*finish_)(token_++);
  }

 private:
  // Spreads `all` over `steps`.
  struct Rate {
    int64_t all = 0, steps = 1, sum = 0;
    KVPARETO_INLINE int64_t due() {
      int64_t n = 0;
      for (sum += all; sum >= steps; sum -= steps) ++n;
      return n;
    }
  };
  Rate tokens_, pairs_;
  std::optional<Finish> finish_;
  Pairs* next_ = nullptr;
  int64_t token_ = 0, end_ = 0;
};

// --- products

template <bool kTall, typename Finish>
void multiply_block(const bf16* x, const bf16* pairs, int64_t columns, bool begins, float* sums,
                    Shadow<Finish>& shadow) {
  constexpr int64_t kRowBytes = kTileSide * 4;
  if (begins) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTall) _tile_zero(2);
    if constexpr (kTall) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kRowBytes);
    _tile_loadd(1, sums + kTile, kRowBytes);
    if constexpr (kTall) _tile_loadd(2, sums + 2 * kTile, kRowBytes);
    if constexpr (kTall) _tile_loadd(3, sums + 3 * kTile, kRowBytes);
  }
  const float* next = sums + kBlockSums;
  for (int64_t c = 0; c < columns; c += kStepColumns, x += kStepInputs, pairs += kStepColumns * kPanelRows) {
    _tile_stream_loadd(4, x, kRowBytes);
    _tile_loadd(6, pairs, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    for (int line = 0; line < 4; ++line, next += kTileSide) _mm_prefetch(next, _MM_HINT_T0);
    _tile_loadd(7, pairs + kPanelPairs, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTall) {
      _tile_stream_loadd(5, x + 2 * kTile, kRowBytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    shadow.work();
  }
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + kTile, kRowBytes);
  if constexpr (kTall) _tile_stored(2, sums + 2 * kTile, kRowBytes);
  if constexpr (kTall) _tile_stored(3, sums + 3 * kTile, kRowBytes);
}

template <typename Finish>
void multiply_part(const Inputs& in, const Part& part, const Finish& finish, const bf16* pairs, float* sums,
                   Shadow<Finish>& shadow) {
  const int64_t steps = part.slice.columns / kStepColumns;
  const int64_t blocks = (part.slice.columns + kBlockColumns - 1) / kBlockColumns;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t from = steps * b / blocks, to = steps * (b + 1) / blocks;
    for (int64_t t = 0; t < in.tokens; t += kBlockSide) {
      const auto multiply = in.tokens - t > kTileSide ? multiply_block<true, Finish> : multiply_block<false, Finish>;
      shadow.begin_block(to - from);
      multiply(in.tiles + t * in.columns + (part.column + from * kStepColumns) * kBlockSide,
               pairs + from * kStepColumns * kPanelRows, (to - from) * kStepColumns, part.begins && b == 0,
               sums + t * kBlockSide, shadow);
      shadow.finish_rest();
      if (part.ends && b == blocks - 1) shadow.add(finish, t, std::min(t + kBlockSide, in.tokens));
    }
  }
}

// The parts part_at(0) to part_at(count - 1), and finisher_of(part)(t) for every token of each that ends its sums.
template <typename PartAt, typename FinisherOf>
void multiply_parts(const Inputs& in, const LinearKernels& kernels, const Space& space, int64_t count, PartAt part_at,
                    FinisherOf finisher_of) {
  TileConfiguration().load();
  const auto slice_at = [&](int64_t i) { return part_at(std::min(i, count - 1)).slice; };
  std::optional<Pairs> next(std::in_place, slice_at(0), slice_at(1), kernels, space.unpacked, space.pairs[0]);
  Shadow<decltype(finisher_of(part_at(0)))> shadow;
  for (int64_t i = 0; i < count; ++i) {
    const Part part = part_at(i);
    while (next->left() > 0) next->make_some();
    next.reset();
    if (i + 1 < count) {
      next.emplace(slice_at(i + 1), slice_at(i + 2), kernels, space.unpacked, space.pairs[(i + 1) % 2]);
    }
    shadow.begin_part(next, whole_blocks(in.tokens) * part.slice.columns / kStepColumns);
    multiply_part(in, part, finisher_of(part), space.pairs[i % 2], space.sums, shadow);
  }
  shadow.finish_rest();
  _tile_release();
}

// A token is told of so many tokens before its turn: a large result is in no near cache.
constexpr int64_t kAhead = 8;

// --- a weight's rows

// A token's sums to its rows' place in the result.
struct PutSums {
  const float* sums;
  const float* bias;  // or null
  float* out;
  int64_t out_stride;
  __mmask16 rows[2];
  bool adds;

  PutSums(const TileProduct& product, int64_t token, const Part& part, const float* from)
      : sums(from),
        out(product.out.row<float>(token) + part.slice.panels[0].first),
        out_stride(product.out.row_stride),
        adds(product.accumulate || part.slice.begin > 0) {
    bias = part.slice.begin == 0 && product.bias != nullptr ? product.bias + part.slice.panels[0].first : nullptr;
    for (int p = 0; p < 2; ++p) rows[p] = static_cast<__mmask16>((1u << part.slice.panels[p].rows) - 1);
  }
  KVPARETO_INLINE void operator()(int64_t t) const {
    float* to = out + t * out_stride;
    for (int p = 0; p < 2; ++p, to += kTileSide) {
      __builtin_prefetch(to + kAhead * out_stride, 1);
      __m512 sum = _mm512_load_ps(sums + place_of(t) + p * kTile);
      if (bias != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(rows[p], bias + p * kTileSide));
      if (adds) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(rows[p], to));
      _mm512_mask_storeu_ps(to, rows[p], sum);
    }
  }
};

// --- gate and up: a panel of each side by side

// Every slice of the columns of a piece is used again for each panel: it must stay in the cache.
int64_t gate_piece(int64_t columns) {
  const int64_t fits = kPieceTokens * kSliceColumns / columns / kBlockSide * kBlockSide;
  return std::clamp<int64_t>(fits, kPieceTokens / 2, kPieceTokens);
}

// The panel that begins with a row of the whole weight.
PanelRows panel_of(const HostLinear& matrix, int64_t row) {
  const WeightSegment* held = &matrix.segments().front();
  for (const WeightSegment& segment : matrix.segments()) {
    if (segment.first_row <= row) held = &segment;
  }
  return {held, row - held->first_row, kPanelRows};
}

// x / (1 + e^-x), the quotient to 2^-27: division takes as long as all the rest. Zero where e^-x is infinite.
inline __m512 silu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 divisor = _mm512_add_ps(one, power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(-kLog2E))));
  const __m512 near = _mm512_rcp14_ps(divisor);
  const __mmask16 finite =
      _mm512_cmp_ps_mask(divisor, _mm512_set1_ps(std::numeric_limits<float>::infinity()), _CMP_NEQ_UQ);
  return _mm512_maskz_mul_ps(finite, x, _mm512_fmadd_ps(near, _mm512_fnmadd_ps(divisor, near, one), near));
}

struct JoinGate {
  const float* sums;
  const float *gate_bias, *up_bias;  // or null
  bf16* out;
  int64_t out_stride;

  JoinGate(const GatedTileProduct& product, int64_t token, int64_t row, const float* from)
      : sums(from), out(product.out.row<bf16>(token) + row), out_stride(product.out.row_stride) {
    gate_bias = product.gate_up.bias() != nullptr ? product.gate_up.bias() + row : nullptr;
    up_bias = gate_bias != nullptr ? gate_bias + product.gate_up.rows() / 2 : nullptr;
  }
  KVPARETO_INLINE void operator()(int64_t t) const {
    bf16* to = out + t * out_stride;
    __builtin_prefetch(to + kAhead * out_stride, 1);
    __m512 gate = _mm512_load_ps(sums + place_of(t)), up = _mm512_load_ps(sums + place_of(t) + kTile);
    if (gate_bias != nullptr) {
      gate = _mm512_add_ps(gate, _mm512_loadu_ps(gate_bias));
      up = _mm512_add_ps(up, _mm512_loadu_ps(up_bias));
    }
    const auto joined = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_mul_ps(silu(gate), up)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), joined);
  }
};

}  // namespace

size_t tiles_scratch_bytes(int64_t tokens, int64_t columns) {
  return Space::bytes(std::min(tokens, kPieceTokens), std::min(columns, kSliceColumns));
}

void multiply_tiles(const TileProduct& product, void* scratch) {
  const int64_t columns = product.weight.columns;
  for (int64_t token = 0; token < product.x.rows(); token += kPieceTokens) {
    const int64_t tokens = std::min(kPieceTokens, product.x.rows() - token);
    for (int64_t begin = 0; begin < columns; begin += kSliceColumns) {
      const int64_t width = std::min(kSliceColumns, columns - begin);
      lay_out_inputs(product.x, token, tokens, begin, width, static_cast<bf16*>(scratch));
      parallel_ranges(product.weight.rows, kBlockSide, [&](int64_t first, int64_t last) {
        const Space space(scratch, tokens, width);
        const auto panel = [&](int64_t row) {
          return PanelRows{&product.weight, row, std::clamp<int64_t>(last - row, 0, kPanelRows)};
        };
        const auto part_at = [&](int64_t i) {
          const int64_t row = first + i * kBlockSide;
          return Part{{{panel(row), panel(row + kPanelRows)}, begin, width}, 0, true, true};
        };
        multiply_parts({space.inputs, tokens, width}, product.kernels, space, whole_blocks(last - first), part_at,
                       [&](const Part& part) { return PutSums(product, token, part, space.sums); });
      });
    }
  }
}

bool gate_fits(const LinearSpec& spec) {
  bool fits = spec.rows() % (2 * kPanelRows) == 0;
  for (const LinearSpec::Part& part : spec.parts) fits = fits && part.rows % kPanelRows == 0;
  return fits;
}

size_t gated_tiles_scratch_bytes(int64_t tokens, int64_t columns) {
  return Space::bytes(std::min(tokens, gate_piece(columns)), columns);
}

void multiply_gated_tiles(const GatedTileProduct& product, void* scratch) {
  const int64_t n = product.gate_up.rows() / 2, columns = product.gate_up.columns(), piece = gate_piece(columns);
  const int64_t slices = (columns + kSliceColumns - 1) / kSliceColumns;
  for (int64_t token = 0; token < product.x.rows(); token += piece) {
    const int64_t tokens = std::min(piece, product.x.rows() - token);
    lay_out_inputs(product.x, token, tokens, 0, columns, static_cast<bf16*>(scratch));
    parallel_ranges(n / kPanelRows, 1, [&](int64_t first, int64_t last) {
      const Space space(scratch, tokens, columns);
      const auto part_at = [&](int64_t i) {
        const int64_t row = (first + i / slices) * kPanelRows, begin = i % slices * kSliceColumns;
        const Slice slice{{panel_of(product.gate_up, row), panel_of(product.gate_up, n + row)},
                          begin,
                          std::min(kSliceColumns, columns - begin)};
        return Part{slice, begin, begin == 0, i % slices == slices - 1};
      };
      const auto finisher_of = [&](const Part& part) {
        return JoinGate(product, token, part.slice.panels[0].weight->first_row + part.slice.panels[0].first,
                        space.sums);
      };
      multiply_parts({space.inputs, tokens, columns}, product.kernels, space, (last - first) * slices, part_at,
                     finisher_of);
    });
  }
}

}  // namespace kvpareto

#pragma GCC pop_options
