#pragma once
// Kernels of quantized weights (quant/weight_panel.h), a table an instruction set: plain_linear.cc is for any x86-64
// and says what the others compute.

#include <cstring>
#include <string>

#include "quant/weight_panel.h"
#include "tensor/tensor.h"

namespace kvpareto {

// out[t][r] (+)= bias[r] + weight[r] . x[t] for the rows of some panels.
struct PanelJob {
  Panel panels;  // the first of them
  int64_t rows, tokens;
  // Inputs rounded to int8 (round_inputs() of host_linear.h) in tiles of so many tokens, the last of what is left, so
  // that all that is multiplied by a block of a panel lies side by side: of a tile of n tokens
  int64_t tile;
  const int8_t* codes;    // [columns / 32][n][32] ...
  const float* scales;    // ... and [columns / 32][n]
  const float* x;         // or inputs as they are, [tokens][columns]
  const float* sums;      // of either kind's values: [tokens][columns / sub of the format]
  const int32_t* starts;  // instead, of int8 inputs, where round_row() leaves them: [columns / min(32, sub)][n]
  const float* squares;   // of one int8 input, for bounds: sums of its values' squares, [columns / sub]
  const float* bias;      // [rows] or null
  float* out;
  int64_t out_stride;
  bool accumulate;

  const WeightFormat& format() const { return panels.format; }
  int64_t columns() const { return panels.columns; }
};

// Columns of a panel that are unpacked at once: with the inputs of a tile they fill a first-level cache of 32 KiB, not
// more. A multiple of every format's unit.
inline constexpr int64_t kSliceColumns = 1024;

// Where a row of inputs rounded to int8 goes: one of a tile of `tokens`.
struct RoundedRow {
  int8_t* codes;
  float* scales;
  int32_t* starts;
  int64_t tokens;

  int8_t* block(int64_t column) const { return codes + column * tokens; }
  float& scale(int64_t column) const { return scales[column / kPanelColumns * tokens]; }
};

// Panels that a kernel may multiply side by side: a thread has as many slices of scratch.
inline constexpr int64_t kPanelsAtOnce = 2;

// Views into the scratch of one thread: a slice of a panel.
struct PanelSlice {
  float *scales, *offsets;  // [columns / sub][16 rows]
  uint8_t* codes;           // [columns / 4][16 rows][4]

  static constexpr int64_t kScales = kSliceColumns / 16 * kPanelRows;
  static constexpr int64_t kFloats = 2 * kScales + kSliceColumns * kPanelRows / 4;  // of scratch
  explicit PanelSlice(float* scratch)
      : scales(scratch), offsets(scratch + kScales), codes(reinterpret_cast<uint8_t*>(scratch + 2 * kScales)) {}
};

struct LinearKernels {
  // Tokens of a tile of inputs that are multiplied by weights of a format.
  int64_t (*tile_tokens)(const WeightFormat& format);
  // One row of inputs, f32 or what the instruction set has for activations, rounded to int8. With it what zero points
  // take away from products with weights of the format: the sums of its values over `sub` columns each, or what whole
  // sums begin with.
  void (*round_row)(const Tensor& x, const WeightFormat& format, const RoundedRow& row, float* sums);
  // The job's product for panels [first, last), by its int8 inputs or its f32 ones; scratch of kPanelsAtOnce slices.
  void (*panels_int8)(const PanelJob& job, int64_t first, int64_t last, float* scratch);
  void (*panels_float)(const PanelJob& job, int64_t first, int64_t last, float* scratch);
  // Of weights whose planes lie apart and one int8 input: out[2 p] and out[2 p + 1], for panels [first, last), are what
  // the largest product of panel p stays below and what it is likely to be (HighBits). Low bits are not read, nor bias.
  void (*bound_panels)(const PanelJob& job, int64_t first, int64_t last);
  // The first `rows` rows of a panel as numbers, out f32 or bf16 [rows, columns].
  void (*widen_panel)(const Panel& panel, int64_t rows, Tensor out, float* scratch);
  // Columns [begin, begin + columns) of a panel, at most kSliceColumns, as codes, scales and offsets; null where no
  // other file asks for them.
  void (*unpack)(const Panel& panel, int64_t begin, int64_t columns, const PanelSlice& slice);
};

// What is known of an int8 product when only the high bits h of each code q = size h + l are: l counts as its mean, and
// moves the product by a random walk of the steps scale * input * (l - mean), of variance (size^2 - 1) / 12 each. The
// bound lies seven of its deviations above, which one product in 10^12 passes if low bits are as good as random
// (docs/METHODS.md).
struct HighBits {
  static constexpr float kDeviations = 7;
  float size, zero;  // q less the zero of its codec is size (h - zero)
  float variance;

  static constexpr HighBits of(WeightCodec codec) {
    const WeightCodecInfo& info = info_of(codec);
    const auto size = static_cast<float>(1 << info.low_bits);
    return {size, (static_cast<float>(info.zero) - (size - 1) / 2) / size, (size * size - 1) / 12};
  }
};

const LinearKernels& plain_linear_kernels();
const LinearKernels& avx2_linear_kernels();
const LinearKernels& vnni_linear_kernels();  // AVX-512 with VNNI

// Sums of an f32 row over `sub` columns each.
inline void sum_row(const float* x, int64_t columns, int64_t sub, float* sums) {
  for (int64_t c = 0; c < columns; c += sub) {
    float sum = 0;
    for (int64_t i = c; i < c + sub; ++i) sum += x[i];
    sums[c / sub] = sum;
  }
}

// What a tile's sums begin with, f32 [count][kRows]: bias and what out holds already, where the job and `first_slice`
// say so. Of the rows of `panel` and its neighbour the first `rows` are there.
template <int kRows>
void begin_sums(const PanelJob& job, int64_t panel, bool first_slice, int64_t token, int64_t count, int64_t rows,
                float* sums) {
  const bool keeps = !first_slice || job.accumulate;
  const float* bias = first_slice && job.bias != nullptr ? job.bias + panel * kPanelRows : nullptr;
  for (int64_t t = 0; t < count; ++t, sums += kRows) {
    const float* out = job.out + (token + t) * job.out_stride + panel * kPanelRows;
    // A large result is in no cache: it comes while the tile is multiplied.
    for (int line = 0; line < kRows; line += 16) __builtin_prefetch(out + line, 1);
    if (rows < kRows || !keeps) std::memset(sums, 0, kRows * sizeof(float));
    // A size that is known is one vector or two; else it is a call.
    if (keeps && rows == kRows) std::memcpy(sums, out, kRows * sizeof(float));
    if (keeps && rows < kRows) std::memcpy(sums, out, static_cast<size_t>(rows) * sizeof(float));
    for (int64_t r = 0; bias != nullptr && r < rows; ++r) sums[r] += bias[r];
  }
}
// Puts them into the result.
template <int kRows>
void end_sums(const PanelJob& job, int64_t panel, int64_t token, int64_t count, int64_t rows, const float* sums) {
  for (int64_t t = 0; t < count; ++t) {
    float* out = job.out + (token + t) * job.out_stride + panel * kPanelRows;
    if (rows == kRows) {
      std::memcpy(out, sums + t * kRows, kRows * sizeof(float));
    } else {
      std::memcpy(out, sums + t * kRows, static_cast<size_t>(rows) * sizeof(float));
    }
  }
}

}  // namespace kvpareto
