#include "cli/study_reading.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/output.h"
#include "report/format.h"
#include "search/sensitivity.h"
#include "search/verification.h"
#include "study/measurement_json.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

// A search also measures on a few of its texts, or on less of one: of the regimes that differ in that alone, the one
// with most tokens.
Regime on_most_texts(const std::vector<Measurement>& all, const Regime& regime) {
  const auto tokens = [](const Regime& r) { return int64_t{r.texts} * (r.prefill + r.scored); };
  Regime most = regime;
  for (const Measurement& m : all) {
    Regime alike = m.regime;
    alike.calibration = regime.calibration;
    alike.texts = regime.texts;
    alike.text_hash = regime.text_hash;
    alike.prefill = regime.prefill;
    alike.scored = regime.scored;
    if (alike == regime && tokens(m.regime) > tokens(most)) most = m.regime;
  }
  return most;
}

std::string curves_name(const Measurement& m) { return "memory curves of " + m.regime.model_hash; }

// From 1024 tokens to what the model was trained for, doubling; the model's limit last.
std::vector<int> curve_contexts(const ModelShape& shape) {
  std::vector<int> contexts;
  for (int context = 1024; context < shape.context; context *= 2) contexts.push_back(context);
  contexts.push_back(shape.context);
  return contexts;
}

MemoryCurve curve_of(const Point& point, int chunk, const Checkpoint& checkpoint, const Backend& backend) {
  const ModelShape shape = read_shape(checkpoint);
  const WeightPlan weights = plan_weights(checkpoint, shape, parse_weights(point.weights));
  MemoryCurve curve;
  curve.weights = point.weights;
  curve.kv = point.kv;
  curve.contexts = curve_contexts(shape);
  for (const int context : curve.contexts) {
    const MemoryParts parts = session_bytes(shape, weights, backend, {parse_scheme(point.kv), context, chunk, 1});
    curve.weights_bytes.push_back(static_cast<double>(parts.weights));
    curve.kv_bytes.push_back(static_cast<double>(parts.kv));
    curve.scratch_bytes.push_back(static_cast<double>(parts.scratch));
    curve.logits_bytes.push_back(static_cast<double>(parts.logits));
  }
  return curve;
}

std::vector<MemoryCurve> kept_curves(const Study& study, const Measurement& m) {
  std::vector<MemoryCurve> curves;
  const auto kept = study.note(curves_name(m));
  if (!kept) return curves;
  try {
    for (const auto& json : nlohmann::json::parse(*kept)) {
      curves.push_back({json.at("kv"), json.at("contexts"), json.at("weights_bytes"), json.at("kv_bytes"),
                        json.at("scratch_bytes"), json.at("logits_bytes"), json.value("weights", "w16")});
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: the memory curves kept in it cannot be read: {}", study.path(), error.what());
  }
  return curves;
}

bool is_sound(const Measurement& m, double max_loss) {
  return m.state == State::kDone && m.value("kld_mean") <= max_loss && std::isfinite(m.value("peak_bytes"));
}

std::string divergence(const Measurement& m) { return with_error(m.values.at("kld_mean")); }

}  // namespace

std::vector<Measurement> latest_regime(const Study& study, const std::string& model) {
  std::vector<Measurement> all = study.all();
  if (all.empty()) fail("{} holds no measurements yet; 'kvpareto search' makes them", study.path());
  std::set<std::string> models;
  for (const Measurement& m : all) models.insert(m.regime.model);
  std::erase_if(all, [&](const Measurement& m) { return m.regime.model.find(model) == std::string::npos; });
  if (all.empty()) {
    const std::vector<std::string> names(models.begin(), models.end());
    fail_usage("{} holds nothing of a model '{}'; did you mean '{}'?", study.path(), model, nearest(model, names));
  }
  // Single layers packed are no choices; they count only where nothing else was measured.
  if (!std::all_of(all.begin(), all.end(), is_layer_probe)) std::erase_if(all, is_layer_probe);
  Regime latest = on_most_texts(all, all.back().regime);
  const auto bare = [](const Regime& regime) { return regime_key(regime_of(regime, Point())); };
  const auto fitted = std::find_if(all.rbegin(), all.rend(), [&](const Measurement& m) {
    return is_fitted(m.point) && bare(m.regime) == bare(latest);
  });
  if (fitted != all.rend()) latest.calibration = fitted->regime.calibration;
  const size_t before = all.size();
  std::erase_if(all, [&](const Measurement& m) {
    return regime_key(regime_of(m.regime, m.point)) != regime_key(regime_of(latest, m.point));
  });
  if (all.size() < before) {
    const Regime& regime = all.back().regime;
    note("{} measurements of {} at context {}; {} others in {} were made under other circumstances", all.size(),
         regime.model, regime.context, before - all.size(), study.path());
  }
  return all;
}

void keep_curves(Study& study, const std::vector<Measurement>& measurements, const Checkpoint& checkpoint,
                 const Backend& backend) {
  const Findings findings = read_study({.measurements = measurements, .curves = {}, .max_loss = kDefaultMaxLoss});
  if (findings.points.empty()) return;
  std::vector<Point> points = {Point()};
  for (const size_t i : findings.front.members) points.push_back(findings.points[i].point);
  nlohmann::json all = nlohmann::json::array();
  std::set<std::string> seen;
  for (const Point& point : points) {
    if (!seen.insert(point.weights + "_" + point.kv).second) continue;
    const MemoryCurve curve = curve_of(point, findings.chunk, checkpoint, backend);
    all.push_back({{"weights", curve.weights},
                   {"kv", curve.kv},
                   {"contexts", curve.contexts},
                   {"weights_bytes", curve.weights_bytes},
                   {"kv_bytes", curve.kv_bytes},
                   {"scratch_bytes", curve.scratch_bytes},
                   {"logits_bytes", curve.logits_bytes}});
  }
  study.set_note(curves_name(findings.points.front()), all.dump());
}

std::vector<Measurement> all_choices(const Study& study, const Regime& regime) {
  std::vector<Measurement> all = study.all(regime);
  std::erase_if(all, is_layer_probe);
  return all;
}

ReportInput report_input(const Study& study, const std::vector<Measurement>& measurements, double max_loss) {
  ReportInput input{.measurements = measurements, .curves = {}, .probes = study.all(), .max_loss = max_loss};
  std::erase_if(input.measurements, is_layer_probe);
  input.measurements = verified(std::move(input.measurements), max_loss);
  std::erase_if(input.probes, [&](const Measurement& m) {
    return !is_layer_probe(m) || m.regime.model_hash != measurements.front().regime.model_hash;
  });
  const std::vector<MemoryCurve> curves = kept_curves(study, measurements.front());
  const Findings findings = read_study(input);
  const Point chosen = findings.recommended ? findings.points[*findings.recommended].point : Point();
  for (const MemoryCurve& curve : curves) {
    for (const Point& wanted : {Point(), chosen}) {
      const bool is_it = curve.weights == wanted.weights && curve.kv == wanted.kv;
      if (!is_it) continue;
      input.curves.push_back(curve);
      break;
    }
  }
  return input;
}

std::string write_report(const std::string& path, const ReportInput& input) {
  const size_t slash = path.find_last_of('/'), dot = path.find_last_of('.');
  const bool has_ending = dot != std::string::npos && (slash == std::string::npos || dot > slash);
  const std::string stem = has_ending ? path.substr(0, dot) : path;
  const Front front = find_front(input.measurements);
  write_file(path, html_report(input));
  write_file(stem + ".csv", table(input.measurements, front, "csv"));
  write_file(stem + ".json", table(input.measurements, front, "json"));
  return fmt::format("report: {} (tables: {}.csv, {}.json)", path, stem, stem);
}

std::string people_table(const std::vector<Measurement>& measurements, bool with_tasks) {
  static const std::vector<std::string> kNames = {"effective_bits", "kv_bytes",  "peak_bytes", "kld_mean", "kld_p999",
                                                  "same_top",       "delta_nll", "prefill_ts", "decode_ts"};
  std::vector<std::string> names = kNames;
  for (const TaskFacts& task : task_facts()) {
    if (with_tasks) names.push_back(task.name);
  }
  std::vector<const Figure*> shown;
  for (const std::string& name : names) {
    const bool present = std::any_of(measurements.begin(), measurements.end(),
                                     [&](const Measurement& m) { return m.values.contains(name); });
    if (present) shown.push_back(find_figure(name));
  }
  const bool with_weights = std::any_of(measurements.begin(), measurements.end(),
                                        [](const Measurement& m) { return m.point.weights != Point().weights; });
  std::vector<std::vector<std::string>> rows = {{"KV", "chunk"}};
  if (with_weights) rows.front().insert(rows.front().begin(), "weights");
  for (const Figure* figure : shown) rows.front().push_back(figure->label);
  rows.front().push_back("");
  const Front front = find_front(measurements);
  for (size_t i = 0; i < measurements.size(); ++i) {
    const Measurement& m = measurements[i];
    rows.push_back({m.point.kv, std::to_string(m.point.chunk)});
    if (with_weights) rows.back().insert(rows.back().begin(), m.point.weights);
    for (const Figure* figure : shown) {
      const auto found = m.values.find(figure->name);
      rows.back().push_back(found == m.values.end() ? "" : in_words(*figure, found->second));
    }
    const std::string standing = front.dominated[i] ? "" : "on the front";
    rows.back().push_back(m.state == State::kFailed ? "failed: " + m.reason : standing);
  }
  return markdown(rows);
}

std::string recommendation(const Findings& findings, const std::string& model) {
  if (!findings.recommended) {
    return fmt::format("Nothing measured stays within {} nats/token of the 16-bit baseline.\n", findings.max_loss);
  }
  const Measurement& chosen = findings.points[*findings.recommended];
  const bool with_16_bits = chosen.point.weights == Point().weights;
  std::string saved;
  if (findings.baseline && *findings.baseline != *findings.recommended) {
    const Measurement& baseline = findings.points[*findings.baseline];
    saved = fmt::format(", {:.0f} % less than 16 bit in all ({:.0f} % less KV cache)",
                        100 * (1 - chosen.value("peak_bytes") / baseline.value("peak_bytes")),
                        100 * (1 - chosen.value("kv_bytes") / baseline.value("kv_bytes")));
  }
  return fmt::format(
      "Recommended for {} tokens: {}{}, chunk {}: {}{}, at a divergence of {} nats/token (limit {}).\nUse it:  {}\n",
      chosen.regime.context, with_16_bits ? "" : "weights " + chosen.point.weights + ", KV ", chosen.point.kv,
      chosen.point.chunk, human_bytes(chosen.value("peak_bytes")), saved, divergence(chosen), findings.max_loss,
      run_command(chosen, model));
}

std::string warning_of_loss(const Study& study, const std::string& model_hash, const Point& point, int context,
                            double max_loss) {
  std::vector<Measurement> all = study.all();
  std::erase_if(
      all, [&](const Measurement& m) { return m.regime.model_hash != model_hash || !m.values.contains("kld_mean"); });
  const auto distance = [&](const Measurement& m) { return std::abs(m.regime.context - context); };
  const Measurement* known = nullptr;
  for (const Measurement& m : all) {
    const bool is_it = m.point.kv == point.kv && m.point.weights == point.weights;
    if (is_it && (known == nullptr || distance(m) <= distance(*known))) known = &m;
  }
  if (known == nullptr || is_sound(*known, max_loss)) return {};
  const Measurement* good = nullptr;
  for (const Measurement& m : all) {
    if (!(m.regime == known->regime) || !is_sound(m, max_loss)) continue;
    if (good == nullptr || m.value("peak_bytes") < good->value("peak_bytes")) good = &m;
  }
  const std::string advice =
      good == nullptr
          ? "nothing better was measured"
          : fmt::format("the cheapest one within the limit is -w {} --kv {} -ub {} ({} nats/token, {} in all)",
                        good->point.weights, good->point.kv, good->point.chunk, divergence(*good),
                        human_bytes(good->value("peak_bytes")));
  return fmt::format(
      "WARNING: {} loses {} nats/token on this model, more than the limit of {} (measured at context {}, {}); {}",
      point.weights == Point().weights ? point.kv : point.weights + " " + point.kv, divergence(*known), max_loss,
      known->regime.context, study.path(), advice);
}

}  // namespace kvpareto
