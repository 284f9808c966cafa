#pragma once
// What the commands that read a study have in common: which measurements belong together, the report, and the warning
// that a configuration is known to be broken.

#include <optional>
#include <string>
#include <vector>

#include "cli/shared_options.h"
#include "engine/session.h"
#include "report/findings.h"
#include "report/report.h"
#include "study/study.h"

namespace kvpareto {

inline constexpr double kDefaultMaxLoss = 0.1;  // nats/token of divergence

// The regime measured last, whole but for single layers (search/sensitivity.h), which stand in only where nothing else
// was measured; what else the study holds is counted in a note on standard error. `model` (part of a file name) narrows
// the choice if it is not empty. Throws Error (kFailure) if nothing was measured.
std::vector<Measurement> latest_regime(const Study& study, const std::string& model);

// All of a regime but single layers: what a frontier is made of.
std::vector<Measurement> all_choices(const Study& study, const Regime& regime);

// Total memory against context, for the report; kept as a note of the study so that a report needs no model.
void keep_curves(Study& study, const std::vector<Measurement>& measurements, const Checkpoint& checkpoint,
                 const Backend& backend);

// `measurements`: what latest_regime or all_choices gave. The single layers of the same model are added.
// Those that failed verification are marked so.
ReportInput report_input(const Study& study, const std::vector<Measurement>& measurements, double max_loss);

// Writes FILE.html, and FILE.csv and FILE.json beside it; returns the sentence that says so.
std::string write_report(const std::string& path, const ReportInput& input);

// Every measurement as a row for people, in the order given; the figures that matter for a choice, and the scores of
// tasks if wanted.
std::string people_table(const std::vector<Measurement>& measurements, bool with_tasks);

// The recommendation in one sentence and the command that uses it; `model` is its path.
std::string recommendation(const Findings& findings, const std::string& model);

// A line that warns, if the study knows that these weights and this KV scheme, whatever the chunk, lose more than
// `max_loss` on this model; empty otherwise.
std::string warning_of_loss(const Study& study, const std::string& model_hash, const Point& point, int context,
                            double max_loss);

}  // namespace kvpareto
