#include "awq/search_scales.h"

#include <algorithm>
#include <cmath>

#include "awq/round_weights.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int kExponents = 20;
constexpr float kMostScale = 4;
constexpr int64_t kMostRows = 512;
// A channel with less than this part of the mean square counts as one with as much.
constexpr double kLeastSquare = 1e-6;

// Logarithms of the channels' root mean squares, less their mean.
std::vector<float> log_sizes(std::span<const float> squares) {
  double mean = 0;
  for (const float square : squares) mean += square / static_cast<double>(squares.size());
  const double least = std::max(kLeastSquare * mean, 1e-30);
  std::vector<float> logs;
  double middle = 0;
  for (const float square : squares) {
    logs.push_back(static_cast<float>(0.5 * std::log(std::max<double>(square, least))));
    middle += logs.back() / static_cast<double>(squares.size());
  }
  for (float& value : logs) value -= static_cast<float>(middle);
  return logs;
}

// Error of one row, its channels scaled before rounding and back.
double row_error(const float* weights, const WeightFormat& format, std::span<const float> scales,
                 std::span<const float> importance, float* scaled) {
  const auto columns = static_cast<int64_t>(scales.size());
  double sum = 0;
  WeightUnit unit;
  for (int64_t c = 0; c < columns; ++c) scaled[c] = weights[c] * scales[static_cast<size_t>(c)];
  for (int64_t begin = 0; begin < columns; begin += format.group) {
    round_to_nearest(format, scaled + begin, unit);
    const float scale = to_float(unit.halves[0]);
    const float zero = format.codec == WeightCodec::kInt8 ? 128.0f : static_cast<float>(unit.bytes[0]);
    float part = 0;
    for (int64_t i = 0; i < format.group; ++i) {
      const float error = scale * (static_cast<float>(unit.codes[static_cast<size_t>(i)]) - zero) - scaled[begin + i];
      part += importance[static_cast<size_t>(begin + i)] * error * error;
    }
    sum += part;
  }
  return sum;
}

double total_error(std::span<const ScaledLinear> linears, std::span<const float> scales,
                   std::span<const float> importance) {
  const auto columns = static_cast<int64_t>(scales.size());
  double total = 0;
  for (const ScaledLinear& linear : linears) {
    const int64_t rows = static_cast<int64_t>(linear.weights.size()) / columns, tried = std::min(rows, kMostRows);
    std::vector<double> errors(static_cast<size_t>(tried));
    parallel_ranges(tried, 8, [&](int64_t begin, int64_t end) {
      std::vector<float> scaled(static_cast<size_t>(columns));
      for (int64_t i = begin; i < end; ++i) {
        errors[static_cast<size_t>(i)] = row_error(linear.weights.data() + i * rows / tried * columns, linear.format,
                                                   scales, importance, scaled.data());
      }
    });
    double sum = 0;
    for (const double error : errors) sum += error;
    total += sum * static_cast<double>(rows) / static_cast<double>(tried);
  }
  return total;
}

}  // namespace

ChannelScales search_scales(std::span<const ScaledLinear> linears, std::span<const float> importance,
                            std::span<const float> squares, const std::function<void(std::span<float>)>& tie) {
  std::vector<float> logs = log_sizes(squares);
  if (tie) tie(logs);
  ChannelScales best;
  double least = 0;
  std::vector<float> scales(logs.size()), scaled_importance(logs.size());
  for (int step = 0; step < kExponents; ++step) {
    const float exponent = static_cast<float>(step) / kExponents;
    for (size_t c = 0; c < logs.size(); ++c) {
      scales[c] = std::clamp(std::exp(exponent * logs[c]), 1 / kMostScale, kMostScale);
      scaled_importance[c] = importance[c] / (scales[c] * scales[c]);
    }
    const double error = total_error(linears, scales, scaled_importance);
    if (step > 0 && !(error < least)) continue;
    least = error;
    best = {exponent, scales};
  }
  return best;
}

}  // namespace kvpareto
