#include "cli/search_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "cli/describe_point.h"
#include "engine/session.h"
#include "kv/catalogue.h"

namespace kvpareto {
namespace {

constexpr int kBaselineChunk = 256;
const std::string kExact = "16";

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

// --- From choices to a scheme
// -------------------------------------------------------------------------------------------

std::string base_text(const std::string& keys, const std::string& values) { return "k" + keys + ".v" + values; }

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

// A window goes behind the base and before the changes of layers.
std::string with_window(const std::string& scheme, const std::string& window) {
  if (window.empty()) return scheme;
  const size_t comma = std::min(scheme.find(','), scheme.size());
  return scheme.substr(0, comma) + "." + window + scheme.substr(comma);
}

bool exact(const KvScheme& scheme) {
  const LayerScheme plain;
  const auto is_plain = [&](const LayerScheme& layer) {
    return layer.keys.codec == Codec::kBf16 && layer.values.codec == Codec::kBf16;
  };
  return is_plain(scheme.base()) && std::all_of(scheme.changed().begin(), scheme.changed().end(),
                                                [&](const auto& change) { return is_plain(change.second); });
}

// --- Axes
// ---------------------------------------------------------------------------------------------------------------

class Builder {
 public:
  Builder(const SpaceOptions& options, const ModelShape& shape) : shape_(shape), own_(options.name.ends_with(".toml")) {
    lists_ = read_space_lists(options.name);
    if (!options.k_bits.empty() || !options.v_bits.empty() || !options.groups.empty()) take_options(options);
    if (!options.chunks.empty()) lists_.chunks = options.chunks;
    if (!options.weights.empty()) {
      lists_.weights = {Point().weights};
      lists_.weights.insert(lists_.weights.end(), options.weights.begin(), options.weights.end());
    }
  }

  std::vector<std::string> schemes() {
    std::vector<std::string> list;
    if (lists_.schemes.empty()) return list;
    add_once(list, "k16v16");
    for (const std::string& text : lists_.schemes) {
      const KvScheme scheme = find_scheme(text);
      if (fits(text, scheme)) add_once(list, to_text(scheme));
    }
    return list;
  }

  // Sides that the model can hold, in the order given.
  std::vector<std::string> sides(char letter) {
    std::vector<std::string> list;
    for (const std::string& text : letter == 'k' ? lists_.keys : lists_.values) {
      const std::string scheme = letter == 'k' ? base_text(text, kExact) : base_text(kExact, text);
      if (fits(letter + text, parse_scheme(scheme))) add_once(list, text);
    }
    return list;
  }

  std::vector<std::string> windows() {
    std::vector<std::string> list;
    for (const std::string& window : lists_.windows) {
      if (fits(window.empty() ? "no window" : window, parse_scheme(with_window("k16v16", window))))
        add_once(list, window);
    }
    return list;
  }

  // The baseline's first: what schemes are compared at.
  std::vector<std::string> chunks() const {
    std::vector<std::string> list = {std::to_string(kBaselineChunk)};
    for (const int chunk : lists_.chunks) add_once(list, std::to_string(chunk));
    return list;
  }

  std::vector<std::string> weights(const Checkpoint& checkpoint) {
    std::vector<std::string> list;
    for (const std::string& text : lists_.weights) {
      const WeightScheme scheme = parse_weights(text);
      try {
        plan_weights(checkpoint, shape_, scheme);
      } catch (const Error& error) {
        if (own_) throw;
        left_out.push_back(fmt::format("{}: {}", text, error.what()));
        continue;
      }
      add_once(list, to_text(scheme));
    }
    return list;
  }

  // The paper's pairs per token, in the first of its groups that the heads can hold.
  std::vector<Point> baselines() const {
    std::vector<Point> points = {Point()};
    if (!lists_.schemes.empty()) return points;
    for (const std::string& pair : paper_pairs()) {
      for (const char* group : {"g64", "g32"}) {
        const KvScheme scheme = parse_scheme(pair + group);
        if (!why_invalid(scheme, shape_.layers, shape_.head_dim, shape_.qkv_bias).empty()) continue;
        const Point point{"w16", to_text(scheme), kBaselineChunk};
        if (std::find(points.begin(), points.end(), point) == points.end()) points.push_back(point);
        break;
      }
    }
    return points;
  }

  bool per_layer() const { return lists_.per_layer; }
  std::vector<std::string> left_out;

 private:
  void take_options(const SpaceOptions& options) {
    const std::vector<std::string> groups =
        options.groups.empty() ? std::vector<std::string>{"64", "32", "128"} : options.groups;
    for (const std::string& group : options.groups) {
      const std::string problem =
          why_invalid(parse_scheme("k8v8g" + group), shape_.layers, shape_.head_dim, shape_.qkv_bias);
      if (!problem.empty()) fail_usage("--groups {}: {}", group, problem);
    }
    const auto listed = [](const std::vector<int>& list, int bits) {
      return list.empty() || std::find(list.begin(), list.end(), bits) != list.end();
    };
    lists_ = {.schemes = {"k16v16"}, .keys = {}, .values = {}, .chunks = lists_.chunks};
    for (const std::string& group : groups) {
      for (const std::string& pair : all_pairs()) {
        const LayerScheme base = parse_scheme(pair).base();
        if (pair == "k16v16" || !listed(options.k_bits, kvpareto::bits_of(base.keys.codec))) continue;
        if (listed(options.v_bits, kvpareto::bits_of(base.values.codec))) lists_.schemes.push_back(pair + "g" + group);
      }
    }
  }

  bool fits(const std::string& name, const KvScheme& scheme) {
    const std::string problem = why_invalid(scheme, shape_.layers, shape_.head_dim, shape_.qkv_bias);
    if (problem.empty()) return true;
    if (own_) fail_usage("{}: {}", name, problem);
    left_out.push_back(fmt::format("{}: {}", name, problem));
    return false;
  }

  const ModelShape& shape_;
  bool own_;
  SpaceLists lists_;
};

// Makes points of choices: the functions of a Space share it.
struct Maker {
  std::vector<Axis> axes;
  const Checkpoint* checkpoint;
  ModelShape shape;
  const Backend* backend;
  int context;
  double most_bytes;
  mutable std::map<std::string, WeightPlan> plans = {};  // by the text of the scheme

  const WeightPlan& plan_of(const std::string& weights) const {
    const auto found = plans.find(weights);
    if (found != plans.end()) return found->second;
    return plans.emplace(weights, plan_weights(*checkpoint, shape, parse_weights(weights))).first->second;
  }

  const std::string* chosen(const std::string& part, const Choices& choices, int layer = 0) const {
    for (size_t axis = 0; axis < axes.size(); ++axis) {
      if (axes[axis].part == part && layer-- == 0) return &axes[axis].choices[static_cast<size_t>(choices[axis])];
    }
    return nullptr;
  }

  std::string scheme_text(const Choices& choices) const {
    if (const std::string* scheme = chosen("scheme", choices)) return *scheme;
    std::vector<std::pair<std::string, std::string>> layers;
    for (int layer = 0; const std::string* keys = chosen("keys", choices, layer); ++layer) {
      layers.emplace_back(*keys, *chosen("values", choices, layer));
    }
    return with_window(layered_text(layers), *chosen("windows", choices));
  }

  double bytes(const Point& point) const {
    const SessionOptions options = {parse_scheme(point.kv), context, point.chunk, 1};
    return static_cast<double>(session_bytes(shape, plan_of(point.weights), *backend, options).total());
  }

  Made make(const Choices& choices) const {
    const KvScheme scheme = parse_scheme(scheme_text(choices));
    Made made{{*chosen("weights", choices), to_text(scheme), std::stoi(*chosen("chunk", choices))}, {}};
    if (exact(scheme) && (scheme.recent > 0 || scheme.sinks > 0)) {
      made.reason = "a window beside 16 bits keeps nothing more exact";
    } else if (made.reason = why_invalid(scheme, shape.layers, shape.head_dim, shape.qkv_bias); made.reason.empty()) {
      const double needed = most_bytes > 0 ? bytes(made.point) : 0;
      if (needed > most_bytes) {
        made.reason = fmt::format("takes {}, more than {}", human_bytes(needed), human_bytes(most_bytes));
      }
    }
    return made;
  }
};

}  // namespace

ModelSpace make_space(const SpaceOptions& options, const Checkpoint& checkpoint, const Backend& backend, int context) {
  const ModelShape shape = read_shape(checkpoint);
  Builder lists(options, shape);
  ModelSpace result;
  std::vector<Axis>& axes = result.space.axes;
  axes.push_back({"weights", "weights", lists.weights(checkpoint)});
  if (const auto schemes = lists.schemes(); !schemes.empty()) {
    axes.push_back({"scheme", "scheme", schemes});
  } else {
    const auto keys = lists.sides('k'), values = lists.sides('v');
    for (int layer = 0; layer < (lists.per_layer() ? shape.layers : 1); ++layer) {
      const std::string where = lists.per_layer() ? fmt::format(" of layer {}", layer) : "";
      axes.push_back({"keys" + where, "keys", keys});
      axes.push_back({"values" + where, "values", values});
    }
    axes.push_back({"windows", "windows", lists.windows()});
  }
  axes.push_back({"chunk", "chunk", lists.chunks(), true});
  result.space.baselines = lists.baselines();
  result.left_out = lists.left_out;
  const auto maker = std::make_shared<Maker>(Maker{axes, &checkpoint, shape, &backend, context, options.most_bytes});
  result.space.make = [maker](const Choices& choices) { return maker->make(choices); };
  result.space.bytes = [maker](const Point& point) { return maker->bytes(point); };
  const Detail detail = lists.per_layer() ? Detail::kLayers : Detail::kTogether;
  result.space.describe = [maker, detail](const Point& point) {
    return describe_point(point, maker->shape.layers, maker->shape.head_dim, detail);
  };
  check_space(result.space);
  return result;
}

}  // namespace kvpareto
