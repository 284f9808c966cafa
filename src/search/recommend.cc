#include "search/recommend.h"

#include <algorithm>
#include <cmath>

#include "search/confidence.h"

namespace kvpareto {
namespace {

constexpr double kHardly = 0.1;

bool is_task_score(const Figure& figure) { return !figure.task.empty() && figure.better == Better::kMore; }

// Whether the whole interval of the paired difference lies below a tenth of the loss, or below what is noise anyway.
bool hardly_worse(const Measurement& best, const Measurement& m) {
  const double least = best.value("kld_mean"), difference = m.value("kld_mean") - least;
  const double errors = errors_apart(best, m);
  const double error = std::isfinite(errors) && errors != 0 ? difference / errors : 0;
  return difference + kBeyondError * error <= std::max(kHardly * least, kLossFloor);
}

}  // namespace

Estimate task_drop(const Measurement& baseline, const Measurement& m) {
  std::vector<double> drops;
  for (const Figure& figure : figures()) {
    if (!is_task_score(figure)) continue;
    const auto a = baseline.texts.find(figure.name), b = m.texts.find(figure.name);
    if (a == baseline.texts.end() || b == m.texts.end() || a->second.size() != b->second.size()) continue;
    for (size_t i = 0; i < a->second.size(); ++i) drops.push_back(a->second[i] - b->second[i]);
  }
  return drops.empty() ? Estimate{} : estimate(drops);
}

bool keeps_to(const Limits& limits, const Measurement& m, const Measurement* baseline) {
  if (m.state != State::kDone || !(loss_interval(m).high <= limits.max_loss)) return false;
  if (limits.most_bytes > 0 && !(m.value("peak_bytes") <= limits.most_bytes)) return false;
  if (limits.min_speed > 0) {
    const auto speed = m.values.find("decode_ts");
    if (speed == m.values.end() || !(speed->second.value >= limits.min_speed)) return false;
  }
  if (limits.max_drop <= 0) return true;
  if (baseline == nullptr) return false;
  const Estimate drop = task_drop(*baseline, m);
  if (drop.samples == 0) return false;
  const double error = std::isfinite(drop.standard_error) ? drop.standard_error : 0;
  return drop.value + kBeyondError * error <= limits.max_drop;
}

std::optional<size_t> recommend(std::span<const Measurement> measurements, const Front& front, const Limits& limits,
                                Goal goal, const Measurement* baseline) {
  std::vector<size_t> kept;  // cheapest first
  for (const size_t i : front.members) {
    if (keeps_to(limits, measurements[i], baseline)) kept.push_back(i);
  }
  if (kept.empty()) return std::nullopt;
  if (goal == Goal::kKnee && std::find(kept.begin(), kept.end(), front.knee) != kept.end()) return front.knee;
  if (goal != Goal::kBestQuality) return kept.front();
  // The last member of a front loses least. A cheaper one is as good an answer if surely it loses hardly more.
  for (const size_t i : kept) {
    if (hardly_worse(measurements[kept.back()], measurements[i])) return i;
  }
  return kept.back();
}

}  // namespace kvpareto
