#pragma once
// Weights of schemes that end in .awq: made once, kept on disk, loaded like any other model from then on.

#include <memory>
#include <string>

#include "awq/quantize_model.h"
#include "checkpoint/checkpoint.h"

namespace kvpareto {

struct QuantizedPlace {
  std::string cache_folder;  // folders of all models and schemes stand in it
  std::string data_folder;   // value of KVPARETO_DATA, may be empty
};

// $XDG_CACHE_HOME/kvpareto/weights, or ~/.cache/kvpareto/weights.
std::string default_cache_folder();

// The linears of the scheme, quantized by the default recipe on the default calibration text, in a folder whose name is
// made of the model's fingerprint, the linears' text, the calibration's hash and the recipe's number. Takes minutes the
// first time. Throws as quantize_model().
std::unique_ptr<Checkpoint> quantized_weights(const Checkpoint& checkpoint, Backend& backend,
                                              const WeightScheme& scheme, const QuantizedPlace& place,
                                              const QuantizeWatcher& watch = {});

}  // namespace kvpareto
