#include "awq/quantize_layer.h"

#include <algorithm>

#include "awq/refine.h"
#include "awq/search_scales.h"
#include "base/error.h"
#include "base/interrupt.h"

namespace kvpareto {
namespace {

constexpr int64_t kReportedRows = 256;
constexpr LinearKind kKinds[] = {LinearKind::kQkv, LinearKind::kOutput, LinearKind::kGateUp, LinearKind::kDown};

// Rows spread evenly over a matrix.
std::vector<int64_t> reported_rows(int64_t rows) {
  std::vector<int64_t> chosen;
  const int64_t count = std::min(rows, kReportedRows);
  for (int64_t i = 0; i < count; ++i) chosen.push_back(i * rows / count);
  return chosen;
}

std::vector<float> chosen_rows(const Matrix& matrix, std::span<const int64_t> rows) {
  std::vector<float> out;
  for (const int64_t r : rows) {
    const auto first = matrix.weights.begin() + r * matrix.columns;
    out.insert(out.end(), first, first + matrix.columns);
  }
  return out;
}

// What rounding does to `rows`, behind them in `stacks`.
void append_errors(const RoundedWeights& rounded, std::span<const float> rows, std::vector<float>& stacks) {
  std::vector<float> values = rounded.values();
  for (size_t i = 0; i < values.size(); ++i) stacks.push_back(values[i] - rows[i]);
}

// The same of the reported rows of a whole matrix.
std::vector<float> chosen_errors(const RoundedWeights& rounded, const Matrix& matrix) {
  std::vector<float> errors;
  for (const int64_t r : reported_rows(matrix.rows())) {
    for (int64_t c = 0; c < matrix.columns; ++c) {
      errors.push_back(rounded.value(r, c) - matrix.weights[static_cast<size_t>(r * matrix.columns + c)]);
    }
  }
  return errors;
}

std::vector<float> transposed(const std::vector<float>& square, int64_t columns) {
  std::vector<float> out(square.size());
  for (int64_t r = 0; r < columns; ++r) {
    for (int64_t c = 0; c < columns; ++c)
      out[static_cast<size_t>(c * columns + r)] = square[static_cast<size_t>(r * columns + c)];
  }
  return out;
}

// Output errors of several stacks of as many rows, one below the other: a sum of each.
std::vector<double> errors_of_stacks(const std::vector<float>& rows, size_t stacks, const Factor& factor) {
  const std::vector<double> each = factor.output_errors(rows);
  std::vector<double> sums(stacks);
  for (size_t i = 0; i < each.size(); ++i) sums[i / (each.size() / stacks)] += each[i];
  return sums;
}

class LayerQuantizer {
 public:
  LayerQuantizer(LayerMatrices layer, const ModelShape& shape, Backend& backend, const QuantizeOptions& options)
      : shape_(shape), backend_(backend), options_(options) {
    out_.matrices = std::move(layer);
  }

  void choose_formats(int number, const WeightScheme& scheme) {
    for (size_t i = 0; i < kParts; ++i) {
      const WeightChoice& choice = scheme.at(number, kPartInfos[i].kind);
      if (choice.stored)
        fail_usage("weights {}: quantizing cannot keep weights as stored; wanted w16, w8, w4 or w3", to_text(scheme));
      out_.reports[i].format = choice.format;
      if (quantized(i)) out_.reports[i].format = fitting_format(choice.format, out_.matrices.parts[i].columns);
    }
  }

  void round_nearest() {
    for (size_t i = 0; i < kParts; ++i) {
      const Matrix& matrix = out_.matrices.parts[i];
      if (quantized(i)) out_.rounded[i] = round_plainly(matrix.weights, matrix.columns, out_.reports[i].format);
    }
  }

  // In the order in which data meets them, so that each kind sees what those before it have become.
  void scale_and_round(CalibrationRun& calibration) {
    calibration.begin_layer(out_.matrices);
    for (const LinearKind kind : kKinds) {
      if (!any_quantized(kind)) continue;
      Moments moments = calibration.moments(kind, out_.rounded_matrices());
      stop_if_interrupted();
      const std::vector<float> squares = moments.inputs.diagonal();
      const float kept = moments.inputs.shrink();
      Factor factor(backend_, std::move(moments.inputs), options_.damping);
      measure_before(kind, factor);
      correct(kind, factor, moments.drift.take_matrix(), kept * static_cast<float>(options_.correct));
      if (options_.scale) scale(kind, factor, squares);
      for (size_t i = 0; i < kParts; ++i) {
        if (kPartInfos[i].kind == kind && quantized(i)) round(i, factor);
      }
    }
    calibration.end_layer(out_.rounded_matrices());
  }

  QuantizedLayer take() { return std::move(out_); }

 private:
  bool quantized(size_t i) const { return out_.reports[i].format.codec != WeightCodec::kBf16; }
  bool any_quantized(LinearKind kind) const {
    for (size_t i = 0; i < kParts; ++i) {
      if (kPartInfos[i].kind == kind && quantized(i)) return true;
    }
    return false;
  }

  void measure_before(LinearKind kind, const Factor& factor) {
    for (size_t i = 0; i < kParts; ++i) {
      if (kPartInfos[i].kind != kind || !quantized(i)) continue;
      const Matrix& matrix = out_.matrices.parts[i];
      const std::vector<float> rows = chosen_rows(matrix, reported_rows(matrix.rows()));
      std::vector<float> stacks = rows;
      append_errors(round_plainly(rows, matrix.columns, out_.reports[i].format), rows, stacks);
      const std::vector<double> errors = errors_of_stacks(stacks, 2, factor);
      out_.reports[i].before = errors[1] / errors[0];
    }
  }

  // What the inputs x tell of the drift, S x by linear regression, is made up for: W (1 + S) x where it is x that has
  // drifted, (W + S) x where it is the residual stream.
  void correct(LinearKind kind, const Factor& factor, const std::vector<float>& drift, float part) {
    if (part == 0) return;
    std::vector<float> told = factor.solve(drift);  // S [hidden, columns]
    for (float& value : told) value *= part;
    if (is_normed(kind)) told = transposed(told, factor.columns());
    for (size_t i = 0; i < kParts; ++i) {
      if (kPartInfos[i].kind != kind || !quantized(i)) continue;
      Matrix& matrix = out_.matrices.parts[i];
      if (is_normed(kind)) {
        std::vector<float> weights = matrix.weights;
        backend_.product(tensor(weights.data(), matrix.rows(), matrix.columns),
                         tensor(told.data(), matrix.columns, matrix.columns),
                         tensor(matrix.weights.data(), matrix.rows(), matrix.columns), true);
      } else {
        for (size_t j = 0; j < told.size(); ++j) matrix.weights[j] += told[j];
      }
    }
  }

  void scale(LinearKind kind, Factor& factor, std::span<const float> squares) {
    std::vector<ScaledLinear> linears;
    for (size_t i = 0; i < kParts; ++i) {
      if (kPartInfos[i].kind == kind && quantized(i))
        linears.push_back({out_.matrices.parts[i].weights, out_.reports[i].format});
    }
    const ChannelScales found = search_scales(linears, factor.importance(options_.compensate), squares,
                                              [&](std::span<float> logs) { tie_shared_channels(kind, shape_, logs); });
    fold_scales(out_.matrices, kind, found.scales, shape_);
    const RowScales rows = folded_rows(kind, found.scales, shape_);
    std::optional<RoundedWeights>& made = out_.rounded[static_cast<size_t>(rows.part)];
    if (!rows.scales.empty() && made) made->divide_rows(rows.scales);
    factor.rescale(found.scales);
    for (size_t i = 0; i < kParts; ++i) {
      if (kPartInfos[i].kind == kind) out_.reports[i].exponent = found.exponent;
    }
  }

  // With clipping or without, as the reported rows lose less.
  void round(size_t i, const Factor& factor) {
    const Matrix& matrix = out_.matrices.parts[i];
    PartReport& report = out_.reports[i];
    const std::vector<float> rows = chosen_rows(matrix, reported_rows(matrix.rows()));
    const auto rounded = [&](std::span<const float> weights, bool clip) {
      return round_weights(backend_, weights, report.format, factor, {options_.compensate, clip});
    };
    std::vector<float> stacks = rows;
    append_errors(rounded(rows, false), rows, stacks);
    if (options_.clip) append_errors(rounded(rows, true), rows, stacks);
    const std::vector<double> errors = errors_of_stacks(stacks, options_.clip ? 3 : 2, factor);
    report.clipped = options_.clip && errors[2] < errors[1];
    RoundedWeights& made = out_.rounded[i].emplace(rounded(matrix.weights, report.clipped));
    if (options_.compensate && options_.passes > 0) refine(backend_, matrix.weights, factor, options_.passes, made);
    report.after = factor.output_error(chosen_errors(made, matrix)) / errors[0];
  }

  const ModelShape& shape_;
  Backend& backend_;
  const QuantizeOptions& options_;
  QuantizedLayer out_;
};

}  // namespace

LayerMatrices QuantizedLayer::rounded_matrices() const {
  LayerMatrices layer = matrices;
  for (size_t i = 0; i < kParts; ++i) {
    if (rounded[i]) layer.parts[i].weights = rounded[i]->values();
  }
  return layer;
}

WeightFormat fitting_format(const WeightFormat& wanted, int64_t columns) {
  for (int group = wanted.group; group >= 32; group /= 2) {
    if (columns % group == 0) return {wanted.codec, group};
  }
  fail_usage("a matrix of {} columns cannot be quantized in groups: wanted a multiple of 32", columns);
}

QuantizedLayer quantize_layer(LayerMatrices layer, CalibrationRun* calibration, int number, const WeightScheme& scheme,
                              const ModelShape& shape, Backend& backend, const QuantizeOptions& options) {
  LayerQuantizer quantizer(std::move(layer), shape, backend, options);
  quantizer.choose_formats(number, scheme);
  if (options.method == Method::kNearest) {
    quantizer.round_nearest();
  } else {
    quantizer.scale_and_round(*calibration);
  }
  return quantizer.take();
}

}  // namespace kvpareto
