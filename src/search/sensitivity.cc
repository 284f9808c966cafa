#include "search/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "base/text.h"

namespace kvpareto {
namespace {

constexpr std::string_view kAllElse = "k16v16,", kAllWeights = "w16,";
constexpr std::string_view kKinds[] = {"qkv", "o", "gateup", "down"};
constexpr int kMostLayers = 1024;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

bool digit(char c) { return c >= '0' && c <= '9'; }

// "k", "q" or nothing, and bits, taken off the front.
struct Bits {
  bool symmetric;
  int bits;
};
std::optional<Bits> take_bits(std::string_view& side) {
  if (side.empty() || (side.front() != 'k' && side.front() != 'v')) return std::nullopt;
  side.remove_prefix(1);
  const bool symmetric = side.starts_with('q');
  if (symmetric) side.remove_prefix(1);
  const std::optional<int> bits = take_number(side);
  if (!bits) return std::nullopt;
  return Bits{symmetric, *bits};
}

// "down:w4g128" in two; no kind if it is no side of weights.
struct WeightSide {
  std::string_view kind, format;
};
WeightSide weight_side(std::string_view side) {
  for (const std::string_view kind : kKinds) {
    if (side.starts_with(kind) && side.substr(kind.size()).starts_with(":w"))
      return {kind, side.substr(kind.size() + 1)};
  }
  return {};
}

// Keys before values, linears as data meets them, more bits before fewer.
struct BySide {
  bool operator()(const std::string& a, const std::string& b) const { return rank(a) < rank(b); }
  static std::tuple<char, int, std::string_view> rank(std::string_view side) {
    if (WeightSide weights = weight_side(side); !weights.kind.empty()) {
      const auto place = std::find(std::begin(kKinds), std::end(kKinds), weights.kind) - std::begin(kKinds);
      weights.format.remove_prefix(1);
      return {static_cast<char>(place), -take_number(weights.format).value_or(0), side};
    }
    std::string_view rest = side;
    const std::optional<Bits> bits = take_bits(rest);
    return {side.front(), bits ? -bits->bits : 0, side};
  }
};

std::optional<LayerProbe> probe_of(const Measurement& m, Probed what) {
  const std::optional<LayerProbe> weights = weights_probe(m.point.weights);
  if (what == Probed::kWeights) return weights;
  return weights ? std::nullopt : layer_probe(m.point.kv);
}

bool measured_probe(const Measurement& m, Probed what) {
  return m.state == State::kDone && std::isfinite(m.value("kld_mean")) && probe_of(m, what).has_value();
}

bool alike(const Measurement& a, const Measurement& b, Probed what) {
  const bool same_rest = what == Probed::kCache ? a.point.weights == b.point.weights : a.point.kv == b.point.kv;
  return a.regime == b.regime && a.point.chunk == b.point.chunk && same_rest;
}

// A probe of the circumstances that most probes share, of two the later ones; null if there is no probe.
const Measurement* most_usual(std::span<const Measurement> measurements, Probed what) {
  std::vector<std::pair<const Measurement*, int>> kinds;
  for (const Measurement& m : measurements) {
    if (!measured_probe(m, what)) continue;
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return alike(*k.first, m, what); });
    if (kind == kinds.end()) {
      kinds.emplace_back(&m, 1);
    } else {
      ++kind->second;
    }
  }
  const Measurement* usual = nullptr;
  int most = 0;
  for (const auto& [kind, count] : kinds) {
    if (count < most) continue;
    usual = kind;
    most = count;
  }
  return usual;
}

double median_of(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  return values.empty() ? kUnknown : quantile(values, 0.5);
}

}  // namespace

std::optional<LayerProbe> layer_probe(std::string_view kv) {
  if (!kv.starts_with(kAllElse)) return std::nullopt;
  kv.remove_prefix(kAllElse.size());
  const std::optional<int> layer = kv.empty() || !digit(kv.front()) ? std::nullopt : take_number(kv);
  if (!layer || *layer >= kMostLayers || !kv.starts_with(':')) return std::nullopt;
  kv.remove_prefix(1);
  std::string_view rest = kv;
  if (!take_bits(rest)) return std::nullopt;
  // No grouping and no option has a 'v' in its name, so that one begins the other side.
  if (rest.find_first_of(",v") != std::string_view::npos) return std::nullopt;
  return LayerProbe{*layer, std::string(kv)};
}

std::optional<LayerProbe> weights_probe(std::string_view weights) {
  if (!weights.starts_with(kAllWeights)) return std::nullopt;
  weights.remove_prefix(kAllWeights.size());
  const std::optional<int> layer = weights.empty() || !digit(weights.front()) ? std::nullopt : take_number(weights);
  if (!layer || *layer >= kMostLayers || !weights.starts_with('.')) return std::nullopt;
  weights.remove_prefix(1);
  if (weight_side(weights).kind.empty() || weights.find(',') != weights.npos) return std::nullopt;
  return LayerProbe{*layer, std::string(weights)};
}

std::string side_name(std::string_view side) {
  if (const WeightSide weights = weight_side(side); !weights.kind.empty()) {
    return fmt::format("{} {}", weights.kind, weights.format);
  }
  std::string_view rest = side;
  const std::optional<Bits> bits = take_bits(rest);
  if (!bits) return std::string(side);
  if (rest.starts_with('.')) rest.remove_prefix(1);
  return fmt::format("{} {}{}{}{}", side.front() == 'k' ? 'K' : 'V', bits->symmetric ? "q" : "int", bits->bits,
                     rest.empty() ? "" : " ", rest);
}

bool Sensitivity::stands_out(const Layer& layer, size_t side) const {
  const double value = layer.loss[side].value;
  return std::isfinite(value) && value > kLeastCost && value > kStandsOut * medians[side];
}

Sensitivity sensitivity_of(std::span<const Measurement> measurements, Probed what) {
  Sensitivity table;
  const Measurement* typical = most_usual(measurements, what);
  if (typical == nullptr) return table;
  table.regime = typical->regime;
  table.chunk = typical->point.chunk;
  std::map<int, std::map<std::string, Estimate>> by_layer;
  std::set<std::string, BySide> sides;
  for (const Measurement& m : measurements) {
    if (!measured_probe(m, what) || !alike(m, *typical, what)) continue;
    const std::optional<LayerProbe> probe = probe_of(m, what);
    by_layer[probe->layer][probe->side] = m.values.at("kld_mean");
    sides.insert(probe->side);
  }
  table.sides.assign(sides.begin(), sides.end());
  for (const auto& [layer, losses] : by_layer) {
    Sensitivity::Layer row{layer, {}};
    for (const std::string& side : table.sides) {
      const auto found = losses.find(side);
      row.loss.push_back(found == losses.end() ? Estimate{kUnknown, kUnknown, 0} : found->second);
    }
    table.layers.push_back(row);
  }
  for (size_t side = 0; side < table.sides.size(); ++side) {
    std::vector<double> losses;
    for (const Sensitivity::Layer& row : table.layers) losses.push_back(row.loss[side].value);
    table.medians.push_back(median_of(losses));
  }
  return table;
}

std::string who_stands_out(const Sensitivity& sensitivity) {
  std::vector<std::string> parts;
  for (size_t side = 0; side < sensitivity.sides.size(); ++side) {
    std::vector<std::string> layers;
    for (const Sensitivity::Layer& row : sensitivity.layers) {
      if (!sensitivity.stands_out(row, side)) continue;
      const double times = sensitivity.times_median(row, side);
      layers.push_back(std::isfinite(times) ? fmt::format("{} ({:.0f}×)", row.layer, times)
                                            : std::to_string(row.layer));
    }
    if (layers.empty()) continue;
    parts.push_back(fmt::format("{} in layer{} {}", side_name(sensitivity.sides[side]), layers.size() > 1 ? "s" : "",
                                join(layers, ", ")));
  }
  return join(parts, "; ");
}

}  // namespace kvpareto
