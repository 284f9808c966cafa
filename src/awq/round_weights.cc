#include "awq/round_weights.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kBlock = 128;  // columns between two products; a multiple of every group
constexpr float kLargestF16 = 65504;
constexpr int kClipSteps = 8;  // 1, .95, ... .65
constexpr float kClipStep = 0.05f;

// Half up; `shifted` is never below -1.
int nearest_code(float value, const GroupRange& range, int least, int most) {
  const float shifted = value * range.inverse + static_cast<float>(range.zero) + 0.5f;
  return static_cast<int>(std::min(std::max(shifted, static_cast<float>(least)), static_cast<float>(most) + 0.5f));
}

GroupRange range_between(const WeightFormat& format, float low, float high) {
  GroupRange range;
  float wanted;
  if (format.codec == WeightCodec::kInt8) {
    wanted = std::max(-low, high) / 127;
  } else {
    wanted = (high - low) / static_cast<float>(most_code(format));
  }
  range.scale = to_f16(std::min(wanted, kLargestF16));
  const float scale = to_float(range.scale);
  range.inverse = scale > 0 ? 1 / scale : 0;
  if (format.codec == WeightCodec::kInt8) {
    range.zero = 128;
  } else {
    const float zero = std::min(-low * range.inverse + 0.5f, static_cast<float>(most_code(format)));
    range.zero = static_cast<uint8_t>(std::max(0.0f, zero));
  }
  return range;
}

float range_error(const WeightFormat& format, const GroupRange& range, const float* values, const float* importance,
                  int64_t count) {
  const float scale = to_float(range.scale), zero = static_cast<float>(range.zero);
  const int least = least_code(format), most = most_code(format);
  // Four sums, so that the loop can run in vectors; in an order that no instruction set changes.
  float sums[4] = {};
  for (int64_t i = 0; i < count; i += 4) {
#pragma omp simd
    for (int j = 0; j < 4; ++j) {
      const float code = static_cast<float>(nearest_code(values[i + j], range, least, most));
      const float error = scale * (code - zero) - values[i + j];
      sums[j] += importance[i + j] * error * error;
    }
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One row while its columns are rounded, place by place of the factor's order.
struct Row {
  const float* original;     // by place
  float* wanted;             // by place: the weights, less what earlier columns did
  float* error;              // [kBlock] of the block's places: rounded - original
  const GroupRange* ranges;  // [groups]
  uint8_t* codes;            // by column
};

void round_block(const Row& row, int64_t begin, int64_t end, const WeightFormat& format, const Factor& factor,
                 bool compensate) {
  const int least = least_code(format), most = most_code(format);
  for (int64_t k = begin; k < end; ++k) {
    const int32_t column = factor.order()[static_cast<size_t>(k)];
    const GroupRange& range = row.ranges[column / format.group];
    const int code = nearest_code(row.wanted[k], range, least, most);
    row.codes[column] = static_cast<uint8_t>(code);
    const float value = to_float(range.scale) * static_cast<float>(code - range.zero);
    const float error = row.error[k - begin] = value - row.original[k];
    if (!compensate) continue;
    const float* u = factor.row(k);
    float* wanted = row.wanted;
#pragma omp simd
    for (int64_t j = k + 1; j < end; ++j) wanted[j] -= error * u[j];
  }
}

// What a block's errors do to the columns behind it is taken off them: wanted -= errors U.
void pass_on(Backend& backend, const std::vector<float>& errors, const Factor& factor, int64_t begin, int64_t end,
             Tensor wanted) {
  const int64_t n = end - begin, rest = factor.columns() - end;
  if (rest == 0) return;
  std::vector<float> turned(static_cast<size_t>(rest * n));  // -U^T
  parallel_ranges(rest, 64, [&](int64_t first, int64_t last) {
    for (int64_t k = 0; k < n; ++k) {
      const float* u = factor.row(begin + k) + end;
      for (int64_t j = first; j < last; ++j) turned[static_cast<size_t>(j * n + k)] = -u[j];
    }
  });
  Tensor given = tensor(const_cast<float*>(errors.data()), wanted.rows(), kBlock);
  backend.product(given.columns_as(0, n, 1), tensor(turned.data(), rest, n), wanted.columns_as(end, rest, 1), true);
}

}  // namespace

int least_code(const WeightFormat& format) { return format.codec == WeightCodec::kInt8 ? 1 : 0; }
int most_code(const WeightFormat& format) { return (1 << format.bits()) - 1; }

float RoundedWeights::value(int64_t row, int64_t column) const {
  const auto group = static_cast<size_t>(row * groups() + column / format.group);
  const int code = codes[static_cast<size_t>(row * columns + column)];
  return to_float(scales[group]) * static_cast<float>(code - zeros[group]);
}

std::vector<float> RoundedWeights::values() const {
  std::vector<float> out(codes.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) out[static_cast<size_t>(r * columns + c)] = value(r, c);
  }
  return out;
}

void RoundedWeights::divide_rows(std::span<const float> by) {
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = to_f16(std::min(to_float(scales[i]) / by[i / static_cast<size_t>(groups())], kLargestF16));
  }
}

GroupRange fit_group(const WeightFormat& format, const float* values, const float* importance, int64_t count) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  GroupRange best = range_between(format, low, high);
  if (importance == nullptr) return best;
  float least = range_error(format, best, values, importance, count);
  for (int step = 1; step < kClipSteps; ++step) {
    const float part = 1 - kClipStep * static_cast<float>(step);
    const GroupRange range = range_between(format, part * low, part * high);
    const float error = range_error(format, range, values, importance, count);
    if (!(error < least)) continue;
    least = error;
    best = range;
  }
  return best;
}

RoundedWeights round_weights(Backend& backend, std::span<const float> weights, const WeightFormat& format,
                             const Factor& factor, const RoundingOptions& options) {
  const int64_t columns = factor.columns(), rows = static_cast<int64_t>(weights.size()) / columns;
  const int64_t groups = columns / format.group;
  RoundedWeights out{format, rows, columns, {}, {}, {}};
  out.codes.resize(weights.size());
  out.scales.resize(static_cast<size_t>(rows * groups));
  out.zeros.resize(out.scales.size());
  std::vector<float> importance;
  if (options.clip) importance = factor.importance(options.compensate);
  std::vector<GroupRange> ranges(out.scales.size());
  std::vector<float> original(weights.size()), errors(static_cast<size_t>(rows * kBlock));
  parallel_ranges(rows, 4, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const float* row = weights.data() + r * columns;
      for (int64_t k = 0; k < columns; ++k)
        original[static_cast<size_t>(r * columns + k)] = row[factor.order()[static_cast<size_t>(k)]];
      for (int64_t g = 0; g < groups; ++g) {
        const auto place = static_cast<size_t>(r * groups + g);
        const float* counts = options.clip ? importance.data() + g * format.group : nullptr;
        ranges[place] = fit_group(format, row + g * format.group, counts, format.group);
        out.scales[place] = ranges[place].scale;
        out.zeros[place] = ranges[place].zero;
      }
    }
  });
  std::vector<float> wanted = original;
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, columns);
    parallel_ranges(rows, 4, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        round_block({original.data() + r * columns, wanted.data() + r * columns, errors.data() + r * kBlock,
                     ranges.data() + r * groups, out.codes.data() + r * columns},
                    begin, end, format, factor, options.compensate);
      }
    });
    if (options.compensate) pass_on(backend, errors, factor, begin, end, tensor(wanted.data(), rows, columns));
  }
  return out;
}

RoundedWeights round_plainly(std::span<const float> weights, int64_t columns, const WeightFormat& format) {
  const int64_t rows = static_cast<int64_t>(weights.size()) / columns;
  RoundedWeights out{format, rows, columns, {}, {}, {}};
  out.codes.resize(weights.size());
  out.scales.resize(static_cast<size_t>(rows * out.groups()));
  out.zeros.resize(out.scales.size());
  parallel_ranges(rows, 4, [&](int64_t first, int64_t last) {
    WeightUnit unit;
    for (int64_t r = first; r < last; ++r) {
      for (int64_t g = 0; g < out.groups(); ++g) {
        const auto place = static_cast<size_t>(r * columns + g * format.group);
        round_to_nearest(format, weights.data() + place, unit);
        std::copy_n(unit.codes.begin(), format.group, out.codes.begin() + static_cast<int64_t>(place));
        out.scales[static_cast<size_t>(r * out.groups() + g)] = unit.halves[0];
        out.zeros[static_cast<size_t>(r * out.groups() + g)] = format.codec == WeightCodec::kInt8 ? 128 : unit.bytes[0];
      }
    }
  });
  return out;
}

}  // namespace kvpareto
