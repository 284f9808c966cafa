#pragma once
// Calibration tokens for quantizing weights: of a file, of the data folder, or sampled by the model itself.

#include <functional>
#include <string>

#include "awq/calibration.h"
#include "eval/texts.h"

namespace kvpareto {

struct CalibrationSize {
  int sequences = 32;
  int tokens = 512;   // of each
  uint64_t seed = 1;  // of places in a text file, and of sampling
};

// JSON lines with a "text" each give one sequence a line, from its beginning, in the order of the file; lines that are
// too short are passed over. Any other file is cut as texts_of_file() does. Throws Error (kFailure): too few of them.
Calibration calibration_of_file(const std::string& path, const Tokenizer& tokenizer, const CalibrationSize& size);

// $KVPARETO_DATA/calibration/calib_prose_512.jsonl if `data_folder` has it; empty if not.
std::string default_calibration_file(const std::string& data_folder);

// Text that the model samples itself: sample_texts() of eval/texts.h.
Calibration sampled_calibration(const Model& model, const Tokenizer& tokenizer, const CalibrationSize& size,
                                const std::function<void(double)>& progress = {});

}  // namespace kvpareto
