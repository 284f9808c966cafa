// Products of quantized weights for any x86-64, in plain loops.

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"

namespace kvpareto {
namespace {

// Columns [begin, begin + columns) of a panel.
void unpack(const Panel& panel, int64_t begin, int64_t columns, const PanelSlice& slice) {
  const WeightFormat& format = panel.format;
  const WeightCodecInfo& info = info_of(format.codec);
  const int unit_columns = format.unit(), subs = unit_columns / format.sub();
  for (int64_t u = 0; u < columns / unit_columns; ++u) {
    const int64_t first = begin + u * unit_columns;
    const uint8_t* unit = panel.unit(first);
    const auto* halves = reinterpret_cast<const f16*>(unit);
    const uint8_t* bytes = unit + info.halves * kPanelRows * 2;
    for (int s = 0; s < subs; ++s) {
      const int64_t at = (u * subs + s) * kPanelRows;
      for (int r = 0; r < kPanelRows; ++r) {
        read_scale(format.codec, halves + r, bytes + r, kPanelRows, s, slice.scales[at + r], slice.offsets[at + r]);
      }
    }
    for (int64_t c = 0; c < unit_columns; c += kPanelColumns) {
      plain_unpack_block(format, BlockPlanes::of(panel, first + c), slice.codes + (u * unit_columns + c) * kPanelRows);
    }
  }
}

// Where row r of a slice holds column c.
int64_t place_of(int64_t r, int64_t c) { return c / 4 * kPlaneBytes + 4 * r + c % 4; }

int64_t tile_tokens(const WeightFormat& /*format*/) { return 1; }

void round_row(const Tensor& row_of_x, const WeightFormat& format, const RoundedRow& row, float* sums) {
  const float* x = row_of_x.as<float>();
  const int64_t columns = row_of_x.columns(), sub = format.sub();
  for (int64_t c = 0; c < columns; c += kPanelColumns) row.scale(c) = round_inputs(x + c, row.block(c));
  for (int64_t c = 0; c < columns; c += sub) {
    float sum = 0;
    for (int64_t b = c; b < c + sub; b += 16) {
      int whole = 0;
      const int64_t inside = b % kPanelColumns;
      for (int i = 0; i < 16; ++i) whole += row.block(b - inside)[inside + i];
      sum += row.scale(b) * static_cast<float>(whole);
    }
    sums[c / sub] = sum;
  }
}

// Adds the product of a slice and one input to sums [16 rows].
void multiply_int8(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                   float* sums) {
  const int64_t sub = job.format().sub(), step = std::min<int64_t>(sub, kPanelColumns);
  const int8_t* x = job.codes + token * job.columns() + begin;
  const float* scales = job.scales + (token * job.columns() + begin) / kPanelColumns;
  for (int64_t c = 0; c < columns; c += step) {
    const float* weight_scales = slice.scales + c / sub * kPanelRows;
    for (int64_t r = 0; r < kPanelRows; ++r) {
      int whole = 0;
      for (int64_t i = c; i < c + step; ++i) whole += x[i] * slice.codes[place_of(r, i)];
      sums[r] += scales[c / kPanelColumns] * weight_scales[r] * static_cast<float>(whole);
    }
  }
}

void multiply_float(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                    float* sums) {
  const int64_t sub = job.format().sub();
  const float* x = job.x + token * job.columns() + begin;
  for (int64_t c = 0; c < columns; c += sub) {
    for (int64_t r = 0; r < kPanelRows; ++r) {
      float sum = 0;
      for (int64_t i = c; i < c + sub; ++i) sum += x[i] * static_cast<float>(slice.codes[place_of(r, i)]);
      sums[r] += slice.scales[c / sub * kPanelRows + r] * sum;
    }
  }
}

void take_offsets(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                  float* sums) {
  const int64_t sub = job.format().sub();
  const float* totals = job.sums + (token * job.columns() + begin) / sub;
  for (int64_t s = 0; s < columns / sub; ++s) {
    for (int64_t r = 0; r < kPanelRows; ++r) sums[r] -= slice.offsets[s * kPanelRows + r] * totals[s];
  }
}

void each_panel(const PanelJob& job, int64_t first, int64_t last, float* scratch, decltype(multiply_int8)* multiply) {
  const PanelSlice slice(scratch);
  for (int64_t p = first; p < last; ++p) {
    const int64_t rows = std::min<int64_t>(kPanelRows, job.rows - p * kPanelRows);
    for (int64_t begin = 0; begin < job.columns(); begin += kSliceColumns) {
      const int64_t columns = std::min(kSliceColumns, job.columns() - begin);
      unpack(job.panels + p, begin, columns, slice);
      for (int64_t t = 0; t < job.tokens; ++t) {
        float sums[kPanelRows];
        begin_sums<kPanelRows>(job, p, begin == 0, t, 1, rows, sums);
        multiply(job, slice, begin, columns, t, sums);
        take_offsets(job, slice, begin, columns, t, sums);
        std::copy_n(sums, rows, job.out + t * job.out_stride + p * kPanelRows);
      }
    }
  }
}

void panels_int8(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, multiply_int8);
}

void panels_float(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, multiply_float);
}

void bound_panels(const PanelJob& job, int64_t first, int64_t last) {
  const WeightFormat& format = job.format();
  const WeightCodecInfo& info = info_of(format.codec);
  const HighBits bits = HighBits::of(format.codec);
  const int64_t sub = format.sub(), run = std::min<int64_t>(sub, kPanelColumns);
  for (int64_t p = first; p < last; ++p) {
    const Panel panel = job.panels + p;
    float bound = -std::numeric_limits<float>::infinity(), mean = bound;
    for (int64_t r = 0; r < std::min<int64_t>(kPanelRows, job.rows - p * kPanelRows); ++r) {
      float sum = 0, variance = 0;
      for (int64_t c = 0; c < job.columns(); c += run) {
        const uint8_t* unit = panel.unit(c);
        float scale, offset;
        read_scale(format.codec, reinterpret_cast<const f16*>(unit) + r, unit + info.halves * kPanelRows * 2 + r,
                   kPanelRows, static_cast<int>(c % format.unit() / sub), scale, offset);
        if (c % sub == 0) variance += scale * scale * job.squares[c / sub];
        float products = 0;
        for (int64_t i = c; i < c + run; ++i) {
          const int code = code_of(info, BlockPlanes::of(panel, c), r, static_cast<int>(i % kPanelColumns));
          products += (static_cast<float>(code >> info.low_bits) - bits.zero) * static_cast<float>(job.codes[i]);
        }
        sum += scale * job.scales[c / kPanelColumns] * products;
      }
      mean = std::max(mean, bits.size * sum);
      bound = std::max(bound, bits.size * sum + HighBits::kDeviations * std::sqrt(bits.variance * variance));
    }
    job.out[2 * p] = bound;
    job.out[2 * p + 1] = mean;
  }
}

void widen_panel(const Panel& panel, int64_t rows, Tensor out, float* scratch) {
  const PanelSlice slice(scratch);
  const int64_t sub = panel.format.sub();
  for (int64_t begin = 0; begin < panel.columns; begin += kSliceColumns) {
    const int64_t count = std::min(kSliceColumns, panel.columns - begin);
    unpack(panel, begin, count, slice);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < count; ++c) {
        const int64_t at = c / sub * kPanelRows + r;
        const float value = slice.scales[at] * static_cast<float>(slice.codes[place_of(r, c)]) - slice.offsets[at];
        if (out.type == DType::kF32) {
          out.row<float>(r)[begin + c] = value;
        } else {
          out.row<bf16>(r)[begin + c] = to_bf16(value);
        }
      }
    }
  }
}

const LinearKernels kTable = {tile_tokens, round_row, panels_int8, panels_float, bound_panels, widen_panel, nullptr};

}  // namespace

const LinearKernels& plain_linear_kernels() { return kTable; }

}  // namespace kvpareto
