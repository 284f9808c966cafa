#pragma once
// A study as one self-contained HTML page, and as tables. Reads measurements; never touches a model.

#include <span>
#include <string>
#include <vector>

#include "search/front.h"
#include "search/recommend.h"
#include "study/measurement.h"

namespace kvpareto {

// How total memory grows with the context for one pair of schemes, from the memory model; computed by the caller, who
// knows the model: the report only draws it. Stored in the study beside the measurements (Measurement::values cannot
// hold curves).
struct MemoryCurve {
  std::string kv;
  std::vector<int> contexts;
  std::vector<double> weights_bytes, kv_bytes, scratch_bytes, logits_bytes;  // at each context
  std::string weights = "w16";
};

struct ReportInput {
  std::vector<Measurement> measurements;  // of one regime
  std::vector<MemoryCurve> curves;        // baseline and recommended schemes
  std::vector<Measurement> probes = {};   // of single layers (search/sensitivity.h), of the same model
  double max_loss = 0.1;                  // nats/token of divergence above which a configuration is drawn as broken
  Limits limits = {};       // what a recommendation must keep to besides (its own max_loss does not count)
  Goal goal = Goal::kKnee;  // which question it answers
};

// The page: no network, no external file, works without script (tooltips and filters use a little).
std::string html_report(const ReportInput& input);

// All measured points as "md", "csv", "json" or "jsonl"; columns are the figures present, then dominated.
std::string table(std::span<const Measurement> measurements, const Front& front, const std::string& format);

// The front for a terminal: aligned columns, cheapest first, with the baseline first and the knee marked.
std::string front_table(std::span<const Measurement> measurements, const Front& front);

// The command that runs a point of `model`, a path or a name, ready to paste.
std::string run_command(const Measurement& measurement, const std::string& model);

}  // namespace kvpareto
