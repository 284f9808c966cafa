#include "cli/point_maker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/session.h"
#include "kv/scheme.h"
#include "quant/mixed_weights.h"

namespace kvpareto {
namespace {

// What is kept of weights seen before: a plan has some hundred lines.
constexpr size_t kPlans = 1000;

// Pairs of sides, one a layer, as the scheme with the fewest words: what most layers have, and what others change.
std::string layered_text(const std::vector<std::pair<std::string, std::string>>& layers) {
  std::map<std::pair<std::string, std::string>, size_t> counts;
  for (const auto& pair : layers) ++counts[pair];
  const auto& usual =
      std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; })->first;
  std::string text = base_text(usual.first, usual.second);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const auto& [keys, values] = layers[layer];
    std::vector<std::string> changes;
    if (keys != usual.first) changes.push_back("k" + keys);
    if (values != usual.second) changes.push_back("v" + values);
    if (!changes.empty()) text += fmt::format(",{}:{}", layer, join(changes, "."));
  }
  return text;
}

bool exact(const KvScheme& scheme) {
  const auto is_plain = [&](const LayerScheme& layer) {
    return layer.keys.codec == Codec::kBf16 && layer.values.codec == Codec::kBf16;
  };
  return is_plain(scheme.base()) && std::all_of(scheme.changed().begin(), scheme.changed().end(),
                                                [&](const auto& change) { return is_plain(change.second); });
}

}  // namespace

std::string base_text(const std::string& keys, const std::string& values) { return "k" + keys + ".v" + values; }

// A window goes behind the base and before the changes of layers.
std::string with_window(const std::string& scheme, const std::string& window) {
  if (window.empty()) return scheme;
  const size_t comma = std::min(scheme.find(','), scheme.size());
  return scheme.substr(0, comma) + "." + window + scheme.substr(comma);
}

PointMaker::PointMaker(const std::vector<Axis>& axes, const Checkpoint& checkpoint, const ModelShape& shape,
                       const Backend& backend, int context, double most_bytes)
    : axes_(axes),
      checkpoint_(checkpoint),
      shape_(shape),
      backend_(backend),
      context_(context),
      most_bytes_(most_bytes) {
  for (size_t axis = 0; axis < axes.size(); ++axis) parts_[axes[axis].part].push_back(axis);
}

// Places beyond the axes of a part begin again: one axis speaks for all of them, one a kind for the kind's layers.
const std::string& PointMaker::chosen(const std::string& part, const Choices& choices, size_t place) const {
  const std::vector<size_t>& axes = parts_.at(part);
  const size_t axis = axes[place % axes.size()];
  return axes_[axis].choices[static_cast<size_t>(choices[axis])];
}

std::string PointMaker::scheme_text(const Choices& choices) const {
  if (parts_.contains("scheme")) return chosen("scheme", choices);
  std::vector<std::pair<std::string, std::string>> layers;
  for (size_t layer = 0; layer < parts_.at("keys").size(); ++layer) {
    layers.emplace_back(chosen("keys", choices, layer), chosen("values", choices, layer));
  }
  return with_window(layered_text(layers), chosen("windows", choices));
}

std::string PointMaker::weights_text(const Choices& choices) const {
  if (!parts_.contains("table")) return chosen("weights", choices);
  std::map<std::string, WeightChoice> known;
  std::vector<WeightChoice> places;
  for (size_t place = 0; place < static_cast<size_t>(shape_.layers) * kLinearKindCount; ++place) {
    const std::string& text = chosen("weights", choices, place);
    const auto [found, is_new] = known.try_emplace(text);
    if (is_new) found->second = parse_weights(text).linears;
    places.push_back(found->second);
  }
  return to_text(mixed_weights(places, parse_weights("w16e" + chosen("table", choices)).table));
}

const WeightPlan& PointMaker::plan_of(const std::string& weights) const {
  const auto found = plans_.find(weights);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= kPlans) plans_.clear();
  return plans_.emplace(weights, plan_weights(checkpoint_, shape_, parse_weights(weights))).first->second;
}

double PointMaker::bytes(const Point& point) const {
  const SessionOptions options = {parse_scheme(point.kv), context_, point.chunk, 1};
  return static_cast<double>(session_bytes(shape_, plan_of(point.weights), backend_, options).total());
}

Made PointMaker::make(const Choices& choices) const {
  const KvScheme scheme = parse_scheme(scheme_text(choices));
  Made made{{weights_text(choices), to_text(scheme), std::stoi(chosen("chunk", choices))}, {}};
  if (exact(scheme) && (scheme.recent > 0 || scheme.sinks > 0)) {
    made.reason = "a window beside 16 bits keeps nothing more exact";
  } else if (made.reason = why_invalid(scheme, shape_.layers, shape_.head_dim, shape_.qkv_bias); made.reason.empty()) {
    const double needed = most_bytes_ > 0 ? bytes(made.point) : 0;
    if (needed > most_bytes_) {
      made.reason = fmt::format("takes {}, more than {}", human_bytes(needed), human_bytes(most_bytes_));
    }
  }
  return made;
}

}  // namespace kvpareto
