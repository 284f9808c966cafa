#include "backend/cpu/linear.h"

#include <algorithm>
#include <utility>

#include "backend/cpu/amx_linear.h"
#include "backend/cpu/panel_jobs.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

// Products with fewer rows of x than this read the weight in our own kernel, which gives each row what it gives a row
// alone: samples side by side (eval) do not depend on each other.
constexpr int64_t kDenseRows = CpuLinears::kFewTokens + 1;
// What oneDNN cannot multiply by is widened, this many rows at a time.
constexpr int64_t kWidenedRows = 256;
// Rows of x that are rounded to int8 at once: with their weights they stay in a second-level cache.
constexpr int64_t kRoundedRows = 256;
// Rows of gate, and of up, whose products are in memory at once, a thread: with the inputs in a second-level cache.
constexpr int64_t kGatedRows = 128;
// From token to token there: a power of two would put them all into a few sets of a first-level cache.
constexpr int64_t kGatedStride = 2 * kGatedRows + kPanelRows;

}  // namespace

bool CpuLinears::uses_tiles(int64_t tokens, int64_t columns) const {
  return tiles_ && tokens >= kDenseRows && tiles_fit(columns);
}

bool CpuLinears::fuses_gate(int64_t tokens, const LinearSpec& spec) const {
  if (uses_tiles(tokens, spec.columns)) return gate_fits(spec);
  const int64_t n = spec.rows() / 2;
  return tokens >= kDenseRows && n % kPanelRows == 0 && spec.parts.size() == 1 && rounds(spec, spec.parts.front());
}

size_t CpuLinears::fused_scratch_bytes(int64_t tokens, const LinearSpec& spec) const {
  if (uses_tiles(tokens, spec.columns)) return gated_tiles_scratch_bytes(tokens, spec.columns);
  return scratch_bytes(tokens, spec) + float_bytes(thread_count() * std::min(tokens, kRoundedRows) * kGatedStride);
}

void CpuLinears::multiply_gated(const HostLinear& gate_up, Tensor x, Tensor out, Tensor scratch) const {
  if (uses_tiles(x.rows(), gate_up.columns())) {
    multiply_gated_tiles({gate_up, linear_kernels_, x, out}, scratch.data);
  } else {
    int8_gated(gate_up, x, out, scratch.data);
  }
}

bool CpuLinears::rounds_inputs(int64_t tokens, const LinearSpec& spec) const {
  return spec.activations == Activations::kInt8 && !uses_tiles(tokens, spec.columns);
}

bool CpuLinears::rounds(const LinearSpec& spec, const LinearSpec::Part& part) const {
  return spec.activations == Activations::kInt8 && part.format.codec != WeightCodec::kBf16;
}

bool CpuLinears::takes_directly(const WeightFormat& format) const {
  return format.codec == WeightCodec::kBf16 && activation_ == DType::kBf16;
}

size_t CpuLinears::dense_scratch_bytes(int64_t tokens, const LinearSpec::Part& part, int64_t columns) const {
  if (tokens < kDenseRows) return 0;
  if (takes_directly(part.format)) return Backend::padded(dense_.scratch_bytes(tokens, part.rows, columns));
  const int64_t at_once = std::min(part.rows, kWidenedRows);
  return Backend::padded(static_cast<size_t>(at_once * columns) * bytes_of(activation_)) +
         Backend::padded(dense_.scratch_bytes(tokens, at_once, columns));
}

size_t CpuLinears::scratch_bytes(int64_t tokens, const LinearSpec& spec) const {
  size_t most = uses_tiles(tokens, spec.columns) ? tiles_scratch_bytes(tokens, spec.columns) : 0;
  if (most > 0) tokens = kDenseRows - 1;  // what others do
  for (const LinearSpec::Part& part : spec.parts) {
    const bool packed = part.format.codec != WeightCodec::kBf16;
    const size_t slices = packed ? slices_bytes() : 0;
    if (rounds(spec, part)) {
      most = std::max(most, slices + rounded_bytes(std::min(tokens, kRoundedRows), spec.columns) +
                                squares_bytes(part.format, spec.columns));
      continue;
    }
    const int64_t few_tokens = std::min(tokens, kDenseRows);
    const size_t few =
        float_bytes(few_tokens * spec.columns) + (packed ? float_bytes(few_tokens * (spec.columns / 16)) : 0);
    most = std::max(most, slices + std::max(few, dense_scratch_bytes(tokens, part, spec.columns)));
  }
  return most;
}

void CpuLinears::embed(const HostLinear& table, std::span<const int32_t> tokens, Tensor out) const {
  parallel_ranges(out.rows(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) table.decode_row(tokens[static_cast<size_t>(t)], out.row<float>(t));
  });
}

void CpuLinears::multiply(const HostLinear& matrix, Tensor x, Tensor out, bool accumulate, Tensor scratch) {
  size_t i = 0;
  for (const WeightSegment& segment : matrix.segments()) {
    const float* bias = matrix.bias() != nullptr ? matrix.bias() + segment.first_row : nullptr;
    const Tensor columns = out.columns_as(segment.first_row, 1, segment.rows);
    const Product product{segment, bias, accumulate, x, columns, scratch.data};
    if (uses_tiles(x.rows(), segment.columns)) {
      multiply_tiles({segment, linear_kernels_, bias, accumulate, x, columns}, scratch.data);
    } else if (rounds(matrix.spec(), matrix.spec().parts[i++])) {
      int8_rows(product);
    } else if (x.rows() >= kDenseRows) {
      many_rows(product);
    } else {
      few_rows(product);
    }
  }
}

// Rows [first, first + rows) of the weight in the type of the inputs.
const void* CpuLinears::widen(const Product& product, int64_t first, int64_t rows, void* to, float* scratch) const {
  const WeightSegment& weight = product.weight;
  const int64_t columns = weight.columns;
  if (weight.is_bf16()) {
    if (activation_ == DType::kBf16) return weight.row(first);
    parallel_ranges(rows, 16, [&](int64_t begin, int64_t end) {
      kernels_.to_f32(weight.row(first + begin), (end - begin) * columns, static_cast<float*>(to) + begin * columns);
    });
    return to;
  }
  const Tensor out = tensor(to, activation_, rows, columns);
  parallel_for((rows + kPanelRows - 1) / kPanelRows, [&](int64_t p) {
    const int64_t count = std::min<int64_t>(kPanelRows, rows - p * kPanelRows);
    linear_kernels_.widen_panel(weight.panels() + (first / kPanelRows + p), count, out.slice(p * kPanelRows, count),
                                scratch + thread_number() * kSliceFloats);
  });
  return to;
}

void CpuLinears::many_rows(const Product& product) {
  const WeightSegment& weight = product.weight;
  const bool widened = !takes_directly(weight.format);
  const int64_t at_once = widened ? std::min(kWidenedRows, weight.rows) : weight.rows;
  auto* slices = static_cast<float*>(product.scratch);
  char* place = static_cast<char*>(product.scratch) + (weight.is_bf16() ? 0 : slices_bytes());
  const size_t taken =
      widened ? Backend::padded(static_cast<size_t>(at_once * weight.columns) * bytes_of(activation_)) : 0;
  for (int64_t r = 0; r < weight.rows; r += at_once) {
    const int64_t count = std::min(at_once, weight.rows - r);
    const void* rows = widen(product, r, count, place, slices);
    dense_.run(product.x.data, rows, product.bias != nullptr ? product.bias + r : nullptr, product.out.as<float>() + r,
               product.out.row_stride, product.x.rows(), count, weight.columns, product.accumulate, place + taken);
  }
}

void CpuLinears::few_rows(const Product& product) const {
  const WeightSegment& weight = product.weight;
  const int64_t tokens = product.x.rows(), columns = weight.columns;
  auto* place = static_cast<char*>(product.scratch) + (weight.is_bf16() ? 0 : slices_bytes());
  const auto* inputs = static_cast<const float*>(product.x.data);
  if (product.x.type == DType::kBf16) {
    kernels_.to_f32(product.x.as<bf16>(), tokens * columns, reinterpret_cast<float*>(place));
    inputs = reinterpret_cast<const float*>(place);
  }
  if (weight.is_bf16()) {
    parallel_ranges(weight.rows, 16, [&](int64_t begin, int64_t end) {
      kernels_.gemv(weight.row(0), product.bias, columns, begin, end, inputs, tokens, product.out.as<float>(),
                    product.out.row_stride, product.accumulate);
    });
    return;
  }
  const int64_t sub = weight.format.sub();
  auto* sums = reinterpret_cast<float*>(place + float_bytes(tokens * columns));
  for (int64_t t = 0; t < tokens; ++t) sum_row(inputs + t * columns, columns, sub, sums + t * (columns / sub));
  PanelJob job{};
  job.tokens = tokens;
  job.x = inputs;
  job.sums = sums;
  set_weight(weight, 0, weight.rows, product.bias, job);
  set_result(product.out, product.accumulate, job);
  run_panels(job, linear_kernels_.panels_float, static_cast<float*>(product.scratch));
}

// All of x, at most kRoundedRows of it, as int8 inputs of a product by weights of `format`: the job's tokens, tile,
// codes, scales and sums or starts, in rounded_bytes() of `place`.
PanelJob CpuLinears::rounded(Tensor x, const WeightFormat& format, char* place) const {
  const int64_t columns = x.columns(), tokens = x.rows(), step = std::min(format.sub(), kPanelColumns);
  const int64_t tile = linear_kernels_.tile_tokens(format);
  PanelJob job{};
  job.tokens = tokens;
  job.tile = tile;
  auto* codes = reinterpret_cast<int8_t*>(place);
  place += Backend::padded(static_cast<size_t>(tokens * columns));
  auto* scales = reinterpret_cast<float*>(place);
  place += float_bytes(tokens * (columns / kPanelColumns));
  auto* sums = reinterpret_cast<float*>(place);
  auto* starts = reinterpret_cast<int32_t*>(place);  // one or the other
  parallel_ranges(tokens, 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t at = t % tile, first = t - at;
      const RoundedRow to{codes + first * columns + at * kPanelColumns, scales + first * (columns / kPanelColumns) + at,
                          starts + first * (columns / step) + at, std::min(tile, tokens - first)};
      linear_kernels_.round_row(x.slice(t, 1), format, to, sums + t * (columns / format.sub()));
    }
  });
  job.codes = codes;
  job.scales = scales;
  job.sums = sums;
  job.starts = starts;
  return job;
}

void CpuLinears::int8_rows(const Product& product) const {
  auto* slices = static_cast<float*>(product.scratch);
  char* place = static_cast<char*>(product.scratch) + slices_bytes();
  for (int64_t done = 0; done < product.x.rows(); done += kRoundedRows) {
    const int64_t tokens = std::min(kRoundedRows, product.x.rows() - done);
    PanelJob job = rounded(product.x.slice(done, tokens), product.weight.format, place);
    set_weight(product.weight, 0, product.weight.rows, product.bias, job);
    set_result(product.out.slice(done, tokens), product.accumulate, job);
    run_panels(job, linear_kernels_.panels_int8, slices);
  }
}

// A block of gate's rows and the same of up's, then their product, block by block.
void CpuLinears::int8_gated(const HostLinear& gate_up, Tensor x, Tensor out, void* scratch) const {
  const WeightSegment& weight = gate_up.segments().front();
  const int64_t n = weight.rows / 2, most = std::min(x.rows(), kRoundedRows);
  auto* slices = static_cast<float*>(scratch);
  char* place = static_cast<char*>(scratch) + slices_bytes();
  auto* products = reinterpret_cast<float*>(static_cast<char*>(scratch) + scratch_bytes(x.rows(), gate_up.spec()));
  for (int64_t done = 0; done < x.rows(); done += kRoundedRows) {
    const int64_t tokens = std::min(kRoundedRows, x.rows() - done);
    const PanelJob inputs = rounded(x.slice(done, tokens), weight.format, place);
    parallel_for((n + kGatedRows - 1) / kGatedRows, [&](int64_t block) {
      const int64_t first = block * kGatedRows, rows = std::min(kGatedRows, n - first);
      float* gate = products + thread_number() * most * kGatedStride;
      float* up = gate + kGatedRows;
      for (const auto& [from, to] : {std::pair(first, gate), std::pair(n + first, up)}) {
        PanelJob job = inputs;
        set_weight(weight, from, rows, gate_up.bias() != nullptr ? gate_up.bias() + from : nullptr, job);
        job.out = to;
        job.out_stride = kGatedStride;
        linear_kernels_.panels_int8(job, 0, (rows + kPanelRows - 1) / kPanelRows,
                                    slices + thread_number() * kSliceFloats);
      }
      for (int64_t t = 0; t < tokens; ++t) {
        kernels_.swiglu(gate + t * kGatedStride, up + t * kGatedStride, rows,
                        out.slice(done + t, 1).columns_as(first, 1, rows));
      }
    });
  }
}

void CpuLinears::run_panels(const PanelJob& job, decltype(LinearKernels::panels_int8) kernel, float* scratch) const {
  parallel_ranges((job.rows + kPanelRows - 1) / kPanelRows, kPanelsAtOnce, [&](int64_t first, int64_t last) {
    kernel(job, first, last, scratch + thread_number() * kSliceFloats);
  });
}

}  // namespace kvpareto
