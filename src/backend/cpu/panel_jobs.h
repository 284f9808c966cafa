#pragma once
// What products by panels take of scratch, and how their jobs are filled in.

#include "backend/backend.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"
#include "base/parallel.h"

namespace kvpareto {

inline size_t float_bytes(int64_t count) { return Backend::padded(static_cast<size_t>(count) * sizeof(float)); }

// Of one thread, for its slices of panels.
inline constexpr int64_t kSliceFloats = kPanelsAtOnce * PanelSlice::kFloats;
inline size_t slices_bytes() { return float_bytes(thread_count() * kSliceFloats); }

// Codes, scales, and sums or starts of inputs rounded to int8. Sub-groups are of 16 values at least.
inline size_t rounded_bytes(int64_t tokens, int64_t columns) {
  return Backend::padded(static_cast<size_t>(tokens * columns)) + float_bytes(tokens * (columns / kPanelColumns)) +
         float_bytes(tokens * (columns / 16));
}

// Squares of one input, for bounds.
inline size_t squares_bytes(const WeightFormat& format, int64_t columns) {
  return is_apart(format.codec) ? float_bytes(columns / format.sub()) : 0;
}

// Rows [first, first + rows) of a weight, the first of a panel, and what is added to their products, if that is not
// null.
inline void set_weight(const WeightSegment& weight, int64_t first, int64_t rows, const float* bias, PanelJob& job) {
  job.panels = weight.panels() + first / kPanelRows;
  job.rows = rows;
  job.bias = bias;
}
inline void set_result(Tensor out, bool accumulate, PanelJob& job) {
  job.out = out.as<float>();
  job.out_stride = out.row_stride;
  job.accumulate = accumulate;
}

}  // namespace kvpareto
