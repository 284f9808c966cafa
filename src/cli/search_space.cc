#include "cli/search_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cli/describe_point.h"
#include "cli/point_maker.h"
#include "kv/catalogue.h"
#include "quant/mixed_weights.h"

namespace kvpareto {
namespace {

constexpr int kBaselineChunk = 256;
const std::string kExact = "16";

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

class Builder {
 public:
  Builder(const SpaceOptions& options, const ModelShape& shape) : shape_(shape), own_(options.name.ends_with(".toml")) {
    lists_ = read_space_lists(options.name);
    if (!options.k_bits.empty() || !options.v_bits.empty() || !options.groups.empty()) take_options(options);
    if (!options.chunks.empty()) lists_.chunks = options.chunks;
    if (!options.weights.empty()) {
      lists_.weights = {Point().weights};
      lists_.weights.insert(lists_.weights.end(), options.weights.begin(), options.weights.end());
      lists_.linears.clear();
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

  // Whole schemes, or bits of linears and of the table.
  std::vector<Axis> weights(const Checkpoint& checkpoint) {
    if (lists_.linears.empty()) return {{"weights", "weights", whole_weights(checkpoint)}};
    const auto choices = linears(checkpoint);
    std::vector<Axis> axes;
    for (const std::string& where : places_of_linears()) axes.push_back({"linears" + where, "weights", choices});
    axes.push_back({"embedding and head", "table", tables(checkpoint)});
    return axes;
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
  std::vector<std::string> whole_weights(const Checkpoint& checkpoint) {
    std::vector<std::string> list;
    for (const std::string& text : lists_.weights) {
      const WeightScheme scheme = parse_weights(text);
      if (holds(checkpoint, text, scheme)) add_once(list, to_text(scheme));
    }
    return list;
  }

  std::vector<std::string> linears(const Checkpoint& checkpoint) {
    std::vector<std::string> list = {Point().weights};
    for (const std::string& text : lists_.linears) {
      const WeightScheme scheme = parse_weights(text);
      if (to_text(scheme) != to_text(scheme.linears)) {
        fail_usage("linears '{}': wanted bits and group alone, as in w4g128", text);
      }
      if (holds(checkpoint, text, scheme)) add_once(list, to_text(scheme));
    }
    return list;
  }

  // Texts as they stand behind the 'e' of a scheme.
  std::vector<std::string> tables(const Checkpoint& checkpoint) {
    std::vector<std::string> list = {kExact};
    for (const std::string& text : lists_.embedding) {
      const WeightScheme scheme = parse_weights("w16e" + text);
      WeightScheme plain;
      plain.table = scheme.table;
      if (!(scheme == plain)) fail_usage("embedding '{}': wanted bits and group alone, as in 8 or 4g32", text);
      if (scheme == WeightScheme() || !holds(checkpoint, "embedding " + text, scheme)) continue;
      add_once(list, to_text(scheme).substr(to_text(scheme).find('e') + 1));
    }
    return list;
  }

  bool holds(const Checkpoint& checkpoint, const std::string& name, const WeightScheme& scheme) {
    try {
      plan_weights(checkpoint, shape_, scheme);
    } catch (const Error& error) {
      if (own_) throw;
      left_out.push_back(fmt::format("{}: {}", name, error.what()));
      return false;
    }
    return true;
  }

  // Of the axes of linears, in the order of mixed_weights.
  std::vector<std::string> places_of_linears() const {
    if (lists_.linears_per == "model") return {""};
    std::vector<std::string> places;
    for (int layer = 0; layer < (lists_.linears_per == "layer" ? shape_.layers : 1); ++layer) {
      for (const std::string_view kind : kLinearKinds) {
        places.push_back(lists_.linears_per == "layer" ? fmt::format(" {} of layer {}", kind, layer)
                                                       : fmt::format(" {}", kind));
      }
    }
    return places;
  }

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

}  // namespace

ModelSpace make_space(const SpaceOptions& options, const Checkpoint& checkpoint, const Backend& backend, int context) {
  const ModelShape shape = read_shape(checkpoint);
  Builder lists(options, shape);
  ModelSpace result;
  std::vector<Axis>& axes = result.space.axes;
  axes = lists.weights(checkpoint);
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
  const auto maker = std::make_shared<PointMaker>(axes, checkpoint, shape, backend, context, options.most_bytes);
  result.space.make = [maker](const Choices& choices) { return maker->make(choices); };
  result.space.bytes = [maker](const Point& point) { return maker->bytes(point); };
  const Detail detail = lists.per_layer() ? Detail::kLayers : Detail::kTogether;
  result.space.describe = [maker, detail](const Point& point) {
    return describe_point(point, maker->shape().layers, maker->shape().head_dim, detail);
  };
  check_space(result.space);
  return result;
}

}  // namespace kvpareto
