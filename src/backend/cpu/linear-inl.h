// Products of quantized weights (quant/weight_panel.h), one instance a Highway target. Included by kernels.cc inside
// foreach_target. A slice of a panel is unpacked to bytes in the first-level cache, then multiplied by all inputs.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Codes u8 [columns / 4][16 rows][4] of columns [begin, begin + columns) of a panel, and scales and offsets f32
// [columns / sub][16] there.
HWY_INLINE void unpack_slice(const WeightFormat& format, const uint8_t* panel, int64_t begin, int64_t columns,
                             const PanelSlice& slice) {
  const WeightCodecInfo& info = info_of(format.codec);
  const int unit_columns = format.unit(), subs = unit_columns / format.sub();
  const int64_t first = begin / unit_columns, units = columns / unit_columns;
  for (int64_t u = 0; u < units; ++u) {
    const uint8_t* unit = panel + unit_bytes(format) * static_cast<size_t>(first + u);
    const auto* halves = reinterpret_cast<const f16*>(unit);
    const uint8_t* bytes = unit + info.halves * kPanelRows * 2;
    for (int s = 0; s < subs; ++s) {
      const int64_t at = (u * subs + s) * kPanelRows;
      for (int r = 0; r < kPanelRows; ++r) {
        read_scale(format.codec, halves + r, bytes + r, kPanelRows, s, slice.scales[at + r], slice.offsets[at + r]);
      }
    }
    const uint8_t* blocks = unit + unit_header_bytes(format);
    for (int b = 0; b < unit_columns / kPanelColumns; ++b) {
      plain_unpack_block(format, blocks + panel_block_bytes(format) * static_cast<size_t>(b),
                         slice.codes + u * unit_columns * kPanelRows + b * kBlockCodes);
    }
  }
}

void round_row(const float* x, int64_t columns, int sub, int8_t* codes, float* scales, float* sums) {
  for (int64_t c = 0; c < columns; c += kPanelColumns) scales[c / kPanelColumns] = round_inputs(x + c, codes + c);
  for (int64_t c = 0; c < columns; c += sub) {
    float sum = 0;
    for (int64_t b = c; b < c + sub; b += 16) {
      int whole = 0;
      for (int i = 0; i < 16; ++i) whole += codes[b + i];
      sum += scales[b / kPanelColumns] * static_cast<float>(whole);
    }
    sums[c / sub] = sum;
  }
}

// sums f32 [16 rows] += the slice times one input.
HWY_INLINE void multiply_int8(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns,
                              int64_t token, float* sums) {
  const int sub = job.format.sub();
  const int8_t* x = job.codes + token * job.columns + begin;
  const float* scales = job.scales + token * (job.columns / kPanelColumns) + begin / kPanelColumns;
  const float* totals = job.sums + (token * job.columns + begin) / sub;
  const int step = sub < kPanelColumns ? sub : kPanelColumns;
  for (int64_t c = 0; c < columns; c += step) {
    const float* weight_scales = slice.scales + c / sub * kPanelRows;
    for (int r = 0; r < kPanelRows; ++r) {
      int whole = 0;
      for (int i = 0; i < step; ++i) whole += x[c + i] * slice.codes[(c + i) / 4 * kPlaneBytes + 4 * r + i % 4];
      sums[r] += scales[c / kPanelColumns] * weight_scales[r] * static_cast<float>(whole);
    }
  }
  for (int64_t s = 0; s < columns / sub; ++s) {
    for (int r = 0; r < kPanelRows; ++r) sums[r] -= slice.offsets[s * kPanelRows + r] * totals[s];
  }
}

HWY_INLINE void multiply_float(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns,
                               int64_t token, float* sums) {
  const int sub = job.format.sub();
  const float* x = job.x + token * job.columns + begin;
  for (int64_t c = 0; c < columns; c += sub) {
    const float* weight_scales = slice.scales + c / sub * kPanelRows;
    const float* offsets = slice.offsets + c / sub * kPanelRows;
    float total = 0;
    for (int i = 0; i < sub; ++i) total += x[c + i];
    for (int r = 0; r < kPanelRows; ++r) {
      float sum = 0;
      for (int i = 0; i < sub; ++i) {
        sum += x[c + i] * static_cast<float>(slice.codes[(c + i) / 4 * kPlaneBytes + 4 * r + i % 4]);
      }
      sums[r] += weight_scales[r] * sum - offsets[r] * total;
    }
  }
}

template <typename Multiply>
HWY_INLINE void each_panel(const PanelJob& job, int64_t first, int64_t last, float* scratch, const Multiply& multiply) {
  const PanelSlice slice(scratch);
  for (int64_t p = first; p < last; ++p) {
    const uint8_t* panel = job.panels + panel_bytes(job.format, job.columns) * static_cast<size_t>(p);
    const int64_t rows = job.rows - p * kPanelRows < kPanelRows ? job.rows - p * kPanelRows : kPanelRows;
    const float* bias = job.bias == nullptr ? nullptr : job.bias + p * kPanelRows;
    for (int64_t begin = 0; begin < job.columns; begin += kSliceColumns) {
      const int64_t columns = job.columns - begin < kSliceColumns ? job.columns - begin : kSliceColumns;
      unpack_slice(job.format, panel, begin, columns, slice);
      for (int64_t t = 0; t < job.tokens; ++t) {
        float sums[kPanelRows] = {};
        multiply(job, slice, begin, columns, t, sums);
        float* out = job.out + t * job.out_stride + p * kPanelRows;
        for (int64_t r = 0; r < rows; ++r) {
          const float before = begin > 0 || job.accumulate ? out[r] : 0.0f;
          out[r] = sums[r] + before + (begin == 0 && bias != nullptr ? bias[r] : 0.0f);
        }
      }
    }
  }
}

void panels_int8(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, [](auto&&... all) HWY_ATTR { multiply_int8(all...); });
}

void panels_float(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, [](auto&&... all) HWY_ATTR { multiply_float(all...); });
}

void widen_panel(const WeightFormat& format, const uint8_t* panel, int64_t rows, int64_t columns, Tensor out,
                 float* scratch) {
  const PanelSlice slice(scratch);
  const int sub = format.sub();
  for (int64_t begin = 0; begin < columns; begin += kSliceColumns) {
    const int64_t count = columns - begin < kSliceColumns ? columns - begin : kSliceColumns;
    unpack_slice(format, panel, begin, count, slice);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < count; ++c) {
        const int64_t at = c / sub * kPanelRows + r;
        const float code = static_cast<float>(slice.codes[c / 4 * kPlaneBytes + 4 * r + c % 4]);
        const float value = slice.scales[at] * code - slice.offsets[at];
        const int64_t place = r * out.row_stride + begin + c;
        if (out.type == DType::kF32) {
          static_cast<float*>(out.data)[place] = value;
        } else {
          static_cast<bf16*>(out.data)[place] = to_bf16(value);
        }
      }
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
