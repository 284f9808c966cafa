#pragma once
// What the kernels of quantized weights share: one product, and a slice of a panel unpacked for it.

#include "quant/weight_panel.h"

namespace kvpareto {

// out[t][r] (+)= bias[r] + weight[r] . x[t] for the rows of some panels.
struct PanelJob {
  WeightFormat format;
  const uint8_t* panels;
  int64_t rows, columns, tokens;
  // Inputs rounded to int8 (round_inputs() of host_linear.h): codes [tokens][columns], scales [tokens][columns / 32],
  // and the sums of their values [tokens][columns / sub of the format].
  const int8_t* codes;
  const float *scales, *sums;
  // Or as they are, f32 [tokens][columns].
  const float* x;
  const float* bias;  // f32 [rows] or null
  float* out;
  int64_t out_stride;
  bool accumulate;
};

// Columns of a panel that are unpacked at once: with the inputs of a tile they fill a first-level cache of 32 KiB, not
// more. A multiple of every format's unit.
inline constexpr int64_t kSliceColumns = 1024;

// Views into the scratch of one thread.
struct PanelSlice {
  float *scales, *offsets;  // [columns / sub][16 rows]
  uint8_t* codes;           // [columns / 4][16 rows][4]

  static constexpr int64_t kScales = kSliceColumns / 16 * kPanelRows;
  static constexpr int64_t kFloats = 2 * kScales + kSliceColumns * kPanelRows / 4;  // of scratch
  KVPARETO_INLINE explicit PanelSlice(float* scratch)
      : scales(scratch), offsets(scratch + kScales), codes(reinterpret_cast<uint8_t*>(scratch + 2 * kScales)) {}
};

}  // namespace kvpareto
