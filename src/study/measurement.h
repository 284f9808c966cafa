#pragma once
// What was found when a point was measured: every number with its error, and where it comes from.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/statistics.h"
#include "study/point.h"

namespace kvpareto {

enum class Better { kLess, kMore, kNeither };

// One measurable quantity. The list of figures.cc names them, with what follows from the list of tasks: columns, JSON,
// CSV and the report follow from it. Names are llama-bench's where the meaning is the same.
struct Figure {
  std::string name;  // "kld_mean"
  std::string unit;  // "nats/token", "bytes", "tokens/s", "fraction", ""
  Better better;
  std::string label;  // "Divergence"
  std::string description;
  std::string task = {};  // whose score it is (task_facts.h); empty for other figures
};
std::span<const Figure> figures();
// Null if there is none of this name.
const Figure* find_figure(std::string_view name);

enum class State { kDone, kFailed };

// Under which circumstances a figure was measured. Two measurements can be compared if their regimes are equal.
struct Regime {
  std::string model;       // file name
  std::string model_hash;  // fingerprint of the checkpoint
  int context = 0;         // tokens the session is sized for
  int prefill = 0;         // tokens before the scored ones, per text
  int scored = 0;          // tokens scored per text
  int step = 0;            // tokens of one teacher-forced step
  int texts = 0;
  std::string text_hash;    // fingerprint of the token ids
  std::string text_origin;  // "self-sampled, seed 1", or a file name
  std::string order = "pack-then-attend";
  uint64_t seed = 0;
  std::string reference = {};    // fingerprint of another checkpoint that divergence is from; empty: of this one
  std::string calibration = {};  // text and recipe of .awq weights; empty: whoever measured makes none
  bool operator==(const Regime&) const = default;
};

struct Provenance {
  std::string program;                // version
  std::string device;                 // processor, instruction set, threads
  std::string time;                   // UTC, ISO 8601
  double seconds = 0;                 // the measurement took
  std::string calibration_file = {};  // --calibration, where it counts
};

struct Measurement {
  Point point;
  Regime regime;
  State state = State::kDone;
  std::string reason;                                // of a failure, one line
  std::map<std::string, Estimate> values;            // by figure name
  std::map<std::string, std::vector<double>> texts;  // per text or sample, by figure name: pairing, bootstrap
  std::map<std::string, std::vector<std::string>>
      samples;  // by task: fingerprints of its samples, in the order of texts
  Provenance provenance;

  // The value of a figure; NaN if it was not measured.
  double value(const std::string& figure) const;
};

// The figures every measurement of an evaluation carries; see figures.cc for the rest.
//   peak_bytes = weights_bytes + kv_bytes + scratch_bytes + logits_bytes, as allocated
//   predicted_peak_bytes (from metadata alone), process_peak_bytes (VmHWM)
//   kld_mean, kld_p999, same_top, delta_nll; those of tasks; prefill_ts, decode_ts; effective_bits

}  // namespace kvpareto
