#include "cli/paper_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "cli/output.h"
#include "cli/search_space.h"
#include "engine/session.h"
#include "report/format.h"
#include "search/confidence.h"
#include "search/recommend.h"

namespace kvpareto {
namespace {

constexpr int kScoreBytes = 2;  // of one attention score, as 16-bit models hold them

std::string saved(double bytes, double baseline) { return fmt::format("{:+.0f} %", 100 * (bytes / baseline - 1)); }

std::string drop_text(const Measurement* baseline, const Measurement& m) {
  const Estimate drop = baseline == nullptr ? Estimate{} : task_drop(*baseline, m);
  if (drop.samples == 0) return "-";
  Estimate percent{100 * drop.value, 100 * drop.standard_error, drop.samples};
  return with_error(percent) + " %";
}

std::vector<std::string> row(const std::string& what, const Measurement& m, const PaperBaselines& baselines,
                             const Measurement* exact) {
  const double bytes = m.value("peak_bytes");
  const Range95 loss = loss_interval(m);
  return {what,
          to_text(m.point),
          human_bytes(bytes),
          saved(bytes, baselines.fused),
          saved(bytes, baselines.unfused),
          with_error(m.values.at("kld_mean")),
          fmt::format("{:.2g} to {:.2g}", std::max(0.0, loss.low), loss.high),
          drop_text(exact, m)};
}

bool usable(const Measurement& m) {
  return m.state == State::kDone && std::isfinite(m.value("peak_bytes")) && std::isfinite(m.value("kld_mean"));
}

// What the model can hold of the paper's grid, at any chunk.
class PaperGrid {
 public:
  PaperGrid(const Checkpoint& checkpoint, const Backend& backend, int context) {
    SpaceOptions options;
    options.name = "paper";
    for (Axis& axis : make_space(options, checkpoint, backend, context).space.axes)
      choices_[axis.part] = std::move(axis.choices);
  }
  bool has(const Point& point) const { return lists("scheme", point.kv) && lists("weights", point.weights); }

 private:
  bool lists(const std::string& part, const std::string& choice) const {
    const std::vector<std::string>& all = choices_.at(part);
    return std::find(all.begin(), all.end(), choice) != all.end();
  }

  std::map<std::string, std::vector<std::string>> choices_;
};

}  // namespace

PaperBaselines paper_baselines(const Checkpoint& checkpoint, const Backend& backend, int context) {
  const ModelShape shape = read_shape(checkpoint);
  const WeightPlan weights = plan_weights(checkpoint, shape);
  const double fused =
      static_cast<double>(session_bytes(shape, weights, backend, {KvScheme(), context, context, 1}).total());
  return {fused, fused + static_cast<double>(shape.heads) * context * context * kScoreBytes};
}

std::string paper_table(const ReportInput& input, const Checkpoint& checkpoint, const Backend& backend) {
  if (input.measurements.empty()) return {};
  const int context = input.measurements.front().regime.context;
  const PaperGrid of_paper(checkpoint, backend, context);
  std::vector<Measurement> grid, others;
  for (const Measurement& m : input.measurements) {
    if (usable(m)) (of_paper.has(m.point) ? grid : others).push_back(m);
  }
  const auto is_exact = [](const Measurement& m) {
    return m.point.kv == Point().kv && m.point.weights == Point().weights;
  };
  const auto exact = std::find_if(grid.begin(), grid.end(), is_exact);
  const Measurement* baseline = exact == grid.end() ? nullptr : &*exact;
  Limits limits = input.limits;
  limits.max_loss = input.max_loss;
  const auto chosen = recommend(grid, find_front(grid), limits, Goal::kLeastMemory, baseline);
  if (!chosen) return fmt::format("Nothing of the paper's grid keeps to {} nats/token.\n", input.max_loss);

  const Measurement& paper = grid[*chosen];
  const PaperBaselines baselines = paper_baselines(checkpoint, backend, context);
  std::vector<std::vector<std::string>> rows = {
      {"", "configuration", "total", "vs fused", "vs un-fused", "divergence", "95 %", "score drop"},
      {"16 bit, un-fused attention", "", human_bytes(baselines.unfused), saved(baselines.unfused, baselines.fused), "",
       "0", "", ""},
      {"16 bit, fused attention", "", human_bytes(baselines.fused), "", saved(baselines.fused, baselines.unfused), "0",
       "", ""},
      row("the paper's grid", paper, baselines, baseline)};

  const Measurement *same_loss = nullptr, *same_memory = nullptr;
  for (const Measurement& m : others) {
    const double bytes = m.value("peak_bytes"), loss = m.value("kld_mean");
    if (loss <= paper.value("kld_mean") && (same_loss == nullptr || bytes < same_loss->value("peak_bytes")))
      same_loss = &m;
    if (bytes <= paper.value("peak_bytes") && (same_memory == nullptr || loss < same_memory->value("kld_mean")))
      same_memory = &m;
  }
  if (same_loss != nullptr) rows.push_back(row("this program's, at its loss", *same_loss, baselines, baseline));
  if (same_memory != nullptr) rows.push_back(row("this program's, at its memory", *same_memory, baselines, baseline));
  std::string text = fmt::format("KV Pareto's grid at {} tokens ({} of its configurations measured, {} others):\n\n{}",
                                 context, grid.size(), others.size(), markdown(rows));
  if (same_loss == nullptr && same_memory == nullptr) text += "Nothing else measured is as good in either.\n";
  return text;
}

}  // namespace kvpareto
