#include "report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/text.h"
#include "report/format.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

int usual_chunk(const std::vector<Measurement>& points) {
  std::map<int, int> counts;
  for (const Measurement& m : points) ++counts[m.point.chunk];
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? 0 : most->first;
}

bool sixteen_bit(const Measurement& m) {
  const auto bits = scheme_bits(m.point.kv);
  return bits && bits->k == 16 && bits->v == 16 && bits->variant.empty();
}

std::optional<size_t> find_baseline(const Findings& findings) {
  std::optional<size_t> best;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    if (!findings.complete(i) || !sixteen_bit(findings.points[i]) || !(findings.cost(i) > 0)) continue;
    const auto rank = [&](size_t j) {
      const Point& point = findings.points[j].point;
      return 2 * (point.weights == "w16") + (point.chunk == findings.chunk);
    };
    if (!best || rank(i) > rank(*best)) best = i;
  }
  return best;
}

std::optional<size_t> find_recommended(const Findings& findings, const ReportInput& input) {
  Limits limits = input.limits;
  limits.max_loss = input.max_loss;
  const Measurement* baseline = findings.baseline ? &findings.points[*findings.baseline] : nullptr;
  return recommend(findings.points, findings.front, limits, input.goal, baseline);
}

// The greatest x for which every point with bits(point) <= x is broken, 0 if there is none.
template <typename Bits>
int broken_up_to(const Findings& findings, Bits bits) {
  std::map<int, bool> all_broken;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const auto scheme = scheme_bits(findings.points[i].point.kv);
    if (!findings.complete(i) || !scheme) continue;
    all_broken.try_emplace(bits(*scheme), true).first->second &= findings.broken(i);
  }
  int limit = 0;
  for (const auto& [number, broken] : all_broken) {
    if (!broken) break;
    limit = number;
  }
  return limit;
}

// The key bits below those of point i that were measured with the same values, groups and chunk; 0 if there are none.
int next_fewer(const Findings& findings, size_t i) {
  const auto from = scheme_bits(findings.points[i].point.kv);
  int most = 0;
  for (size_t j = 0; j < findings.points.size(); ++j) {
    const auto to = scheme_bits(findings.points[j].point.kv);
    if (!findings.complete(j) || !to || to->v != from->v || to->variant != from->variant) continue;
    if (findings.points[i].point.chunk != findings.points[j].point.chunk || to->k >= from->k) continue;
    most = std::max(most, to->k);
  }
  return most;
}

std::string bits_or_fewer(int bits) { return fmt::format("{} bits{}", bits, bits > 2 ? " or fewer" : ""); }

}  // namespace

bool Findings::complete(size_t i) const {
  return points[i].state == State::kDone && std::isfinite(cost(i)) && std::isfinite(loss(i));
}

size_t Findings::count_complete() const {
  size_t count = 0;
  for (size_t i = 0; i < points.size(); ++i) count += complete(i);
  return count;
}

size_t Findings::count_broken() const {
  size_t count = 0;
  for (size_t i = 0; i < points.size(); ++i) count += broken(i);
  return count;
}

std::string Findings::model() const {
  if (!points.empty()) return points.front().regime.model;
  return sensitivity.layers.empty() ? weight_sensitivity.regime.model : sensitivity.regime.model;
}

bool Findings::several_chunks() const {
  return std::any_of(points.begin(), points.end(), [&](const Measurement& m) { return m.point.chunk != chunk; });
}

std::string Findings::label(size_t i) const {
  const Point& point = points[i].point;
  const std::string weights = point.weights == "w16" ? "" : clipped(point.weights, kLongestWeights) + " ";
  return weights + clipped(point.kv, kLongestScheme) + (point.chunk == chunk ? "" : fmt::format("·{}", point.chunk));
}

Findings read_study(const ReportInput& input) {
  Findings findings;
  findings.curves = input.curves;
  findings.max_loss = input.max_loss;
  findings.sensitivity = sensitivity_of(input.probes);
  findings.weight_sensitivity = sensitivity_of(input.probes, Probed::kWeights);
  // What weights were fitted to tells points apart, not circumstances.
  const auto circumstances = [](const Measurement& m) { return regime_of(m.regime, Point()); };
  for (const Measurement& m : input.measurements) {
    if (circumstances(m) == circumstances(input.measurements.front())) {
      findings.points.push_back(m);
    } else {
      ++findings.left_out;
    }
  }
  findings.front = find_front(findings.points);
  findings.on_front.assign(findings.points.size(), false);
  for (const size_t i : findings.front.members) findings.on_front[i] = true;
  findings.chunk = usual_chunk(findings.points);
  findings.baseline = find_baseline(findings);
  findings.recommended = find_recommended(findings, input);
  findings.confidence = front_confidence(findings.points);
  return findings;
}

std::string tooltip(const Sensitivity& table, const Sensitivity::Layer& row, size_t side) {
  std::string text = fmt::format("Layer {}, {}\nDivergence\t{} nats/token", row.layer, side_name(table.sides[side]),
                                 with_error(row.loss[side]));
  const double times = table.times_median(row, side);
  if (std::isfinite(times)) text += fmt::format("\nAgainst the median layer\t×{}", significant(times, 2));
  return text;
}

std::string tooltip(const Findings& findings, size_t i) {
  const Measurement& m = findings.points[i];
  std::string text = fmt::format("{} {}, chunk {}", m.point.weights, m.point.kv, m.point.chunk);
  if (i == findings.recommended) {
    text += " – recommended";
  } else if (i == findings.baseline) {
    text += " – baseline";
  } else if (findings.complete(i) && findings.on_front[i]) {
    text += " – on the front";
  }
  if (findings.complete(i) && findings.confidence.texts > 1) {
    text += fmt::format("\nOn the front\twith probability {:.2f}", findings.confidence.on_front[i]);
  }
  if (m.state == State::kFailed) return text + "\nFailed\t" + m.reason;
  for (const Figure& figure : figures()) {
    const auto found = m.values.find(figure.name);
    if (found == m.values.end() || !std::isfinite(found->second.value)) continue;
    const std::string unit = unit_in_words(figure);
    text += fmt::format("\n{}\t{}{}{}", figure.label, in_words(figure, found->second), unit.empty() ? "" : " ", unit);
    if (figure.name == "peak_bytes" && findings.baseline && i != findings.baseline) {
      text += fmt::format(" ({})", percent_change(found->second.value, findings.cost(*findings.baseline)));
    }
  }
  return text;
}

std::string confidence_in_words(const Findings& findings) {
  const FrontConfidence& sure = findings.confidence;
  return fmt::format(
      "Over texts drawn again and again ({} of them, with replacement) the front dominates {:.0f} to {:.0f} % of its "
      "box, and "
      "its knee lies between {} and {}; it is this one in {:.0f} % of the draws.",
      sure.texts, 100 * sure.hypervolume.low, 100 * sure.hypervolume.high, human_bytes(sure.knee_cost.low),
      human_bytes(sure.knee_cost.high), 100 * sure.knee_share);
}

std::string common_cause(const Findings& findings) {
  if (findings.count_broken() == 0) return {};
  const int keys = broken_up_to(findings, [](const SchemeBits& s) { return s.k; });
  const int values = broken_up_to(findings, [](const SchemeBits& s) { return s.v; });
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const auto scheme = scheme_bits(findings.points[i].point.kv);
    if (!findings.broken(i)) continue;
    if (!scheme || (scheme->k > keys && scheme->v > values)) return {};
  }
  if (keys > 0 && values > 0) {
    return fmt::format("every configuration with keys of {} or values of {}", bits_or_fewer(keys),
                       bits_or_fewer(values));
  }
  if (keys > 0) return fmt::format("every configuration with keys of {}", bits_or_fewer(keys));
  return fmt::format("every configuration with values of {}", bits_or_fewer(values));
}

std::string cliff(const Findings& findings) {
  double steepest = 10;
  std::string sentence;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const auto from = scheme_bits(findings.points[i].point.kv);
    if (!findings.complete(i) || findings.broken(i) || !from || !(findings.loss(i) > 0)) continue;
    for (size_t j = 0; j < findings.points.size(); ++j) {
      const auto to = scheme_bits(findings.points[j].point.kv);
      if (!findings.broken(j) || !to || to->v != from->v || to->k >= from->k || to->variant != from->variant) continue;
      if (findings.points[i].point.chunk != findings.points[j].point.chunk || to->k < next_fewer(findings, i)) continue;
      const double ratio = findings.loss(j) / findings.loss(i);
      if (ratio <= steepest) continue;
      steepest = ratio;
      sentence = fmt::format(
          "With {}-bit values, going from {}- to {}-bit keys multiplies the divergence by {}: from {} to {} "
          "nats/token.",
          from->v, from->k, to->k, significant(ratio, 2), significant(findings.loss(i), 2),
          significant(findings.loss(j), 2));
    }
  }
  return sentence;
}

}  // namespace kvpareto
