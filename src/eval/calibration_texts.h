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

inline constexpr const char* kSelfSampled = "self";

class CalibrationTexts {
 public:
  // `file`: one of the user; kSelfSampled; or empty, for text of many kinds: a third from
  // calibration/calib_prose_512.jsonl of `data_folder` if it is there, all else sampled. Of JSON lines with a "text"
  // each, one sequence a line is taken from its beginning, in the order of the file, and lines that are too short are
  // passed over; any other file is cut as texts_of_file() does. Throws Error (kFailure): too few of them.
  CalibrationTexts(const std::string& file, const std::string& data_folder, const Tokenizer& tokenizer,
                   const CalibrationSize& size);

  // Of what the sequences follow from, beside the model, known before any is sampled.
  uint64_t hash() const;
  const std::string& origin() const { return origin_; }
  int sampled() const { return size_.sequences - static_cast<int>(read_.size()); }  // sequences

  // `load` is called if there is something to sample (sample_texts() from openings() of many kinds). `progress` gets
  // the fraction of it done.
  Calibration make(const std::function<Model()>& load, const std::function<void(double)>& progress = {}) const;

 private:
  const Tokenizer& tokenizer_;
  CalibrationSize size_;
  std::vector<std::vector<int32_t>> read_;  // sequences of files
  std::string origin_;
};

}  // namespace kvpareto
