#pragma once
// Weights of schemes that end in .awq: made once, kept on disk, loaded like any other model from then on.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "awq/quantize_model.h"
#include "checkpoint/checkpoint.h"
#include "eval/calibration_texts.h"
#include "model/shelf.h"

namespace kvpareto {

struct QuantizedPlace {
  std::string cache_folder;  // folders of all models and schemes stand in it
  std::string data_folder;   // value of KVPARETO_DATA, may be empty
  std::string calibration;   // as CalibrationTexts takes it
};

// $XDG_CACHE_HOME/kvpareto/weights, or ~/.cache/kvpareto/weights.
std::string default_cache_folder();

// The model's fingerprint, the linears' text (or the first of it and a hash where it is long), the calibration's hash
// and the recipe's number.
std::string quantized_folder_name(uint64_t model, const WeightScheme& scheme, uint64_t calibration);

// The linears of a scheme, quantized by the default recipe in a folder of that name. Takes minutes the first time.
// Throws as quantize_model() and CalibrationTexts.
class QuantizedWeights : public WeightMaker {
 public:
  // Called for each scheme that is not there yet; what it gives is told how far that is.
  using Watch = std::function<QuantizeWatcher(const WeightScheme&)>;

  // The checkpoint and the backend must outlive it.
  QuantizedWeights(const Checkpoint& checkpoint, Backend& backend, QuantizedPlace place, Watch watch = {});

  std::unique_ptr<Checkpoint> make(const WeightScheme& scheme) override;
  std::string calibration() override;
  std::string calibration_file() override { return place_.calibration; }

 private:
  const CalibrationTexts& texts();

  const Checkpoint& checkpoint_;
  Backend& backend_;
  QuantizedPlace place_;
  Watch watch_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<CalibrationTexts> texts_;  // read when they are asked for
};

}  // namespace kvpareto
