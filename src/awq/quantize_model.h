#pragma once
// A model file and calibration tokens in, a folder with quantized weights out: the same architecture, the same
// tokenizer. Layer by layer: what is in memory is one layer, two residual streams of the calibration tokens and the
// moments of each kind of linear.

#include <functional>
#include <string>
#include <vector>

#include "awq/calibration.h"
#include "awq/packing.h"
#include "awq/quantize_layer.h"

namespace kvpareto {

// Another number whenever this program would make other weights of the same job.
inline constexpr int kQuantizeRecipe = 5;

struct QuantizeJob {
  WeightScheme scheme;  // of the linears; tables stay 16 bits
  QuantizeOptions options;
  Calibration calibration;  // not needed for Method::kNearest
  std::string folder;       // where the result goes
  // kAwq: a folder that other programs load as AWQ; every linear is int4 in one group size, the largest that divides
  // all widths. kPlain: this program's own layout, each linear as the scheme says.
  Layout layout = Layout::kPlain;
};

// Whether every linear has the same 4-bit format, so that an AWQ folder can hold it.
bool is_uniform_int4(const WeightScheme& scheme);

struct LayerReport {
  std::array<PartReport, kParts> parts;
  double seconds = 0;  // 0 for a layer that an earlier run did
};

struct QuantizeReport {
  std::vector<LayerReport> layers;
  uint64_t weight_bytes = 0;       // of the linears as written
  int resumed = 0;                 // layers that an earlier run had finished
  std::vector<std::string> notes;  // a line each: groups that were made smaller, damaged work that was done again
};

// Fraction done, and what is under way.
using QuantizeWatcher = std::function<void(double, const std::string&)>;

// Throws what quantize_model() throws before its first layer of the model, the scheme and the folder: before
// calibration text is made, which may take long.
void check_job(const Checkpoint& checkpoint, Backend& backend, const QuantizeJob& job);

// Works in `folder`.partial, which is renamed to `folder` at the end; a run that was killed goes on where it was, with
// the same result bit for bit. Throws Error: (kFailure) the folder exists, or its .partial belongs to another job;
// (kUsage) as plan_weights() and quantize_layer(); a scheme that is not uniform for kAwq.
QuantizeReport quantize_model(const Checkpoint& checkpoint, Backend& backend, const QuantizeJob& job,
                              const QuantizeWatcher& watch = {});

}  // namespace kvpareto
