#pragma once
// One layer from numbers to codes: AWQ's scales, then rounding with what is known of the inputs.

#include <array>
#include <optional>
#include <string>

#include "awq/calibration.h"
#include "awq/layer_matrices.h"
#include "awq/round_weights.h"
#include "quant/weight_scheme.h"

namespace kvpareto {

enum class Method : uint8_t {
  kNearest,  // "rtn": plain round to nearest, the control; needs no calibration
  kAwq       // "awq"
};

struct QuantizeOptions {
  Method method = Method::kAwq;
  bool scale = true;       // AWQ's scales
  bool compensate = true;  // rounding errors are made up for by later columns
  double correct = 0.7;    // this part of what earlier roundings did is made up for, as far as inputs tell it
  bool clip = true;        // clipping search in every group, where it lowers the linear's output error
  int passes = 3;          // over the codes and scales that were found (refine), where `compensate`
  double damping = 0.2;    // of the mean square input, added to every channel's
};

// The output error of one linear on the calibration tokens, relative to its outputs: sum of squares of what rounding
// adds to them / sum of squares of what its weights alone make of the inputs (no bias). On up to 256 rows.
struct PartReport {
  WeightFormat format;
  double before = 0;    // rounded to nearest as the weights stand
  double after = 0;     // as written
  double exponent = 0;  // of the scales of its input channels
  bool clipped = false;
};

struct QuantizedLayer {
  LayerMatrices matrices;                                     // corrected, scales folded in; weights not rounded
  std::array<std::optional<RoundedWeights>, kParts> rounded;  // none where the scheme keeps 16 bits
  std::array<PartReport, kParts> reports;

  LayerMatrices rounded_matrices() const;  // as the quantized model multiplies by them
};

// The format that `wanted` becomes for a matrix of so many columns: the largest group of 128, 64, 32 up to the wanted
// one that divides them.
WeightFormat fitting_format(const WeightFormat& wanted, int64_t columns);

// The next layer of `calibration`, which ends behind it; none for Method::kNearest. Throws Error (kUsage) where the
// scheme asks for weights as stored, or for columns that no group divides.
QuantizedLayer quantize_layer(LayerMatrices layer, CalibrationRun* calibration, int number, const WeightScheme& scheme,
                              const ModelShape& shape, Backend& backend, const QuantizeOptions& options);

}  // namespace kvpareto
