#include "report/scheme_bits.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kvpareto {
namespace {

constexpr const char* kUsualGroup = "g64";      // of a side without any, if the other has none either
constexpr const char* kBlocks = "GGUF blocks";  // of q8 and q4, which have a grouping of their own
constexpr int kMostLayers = 1024, kMostBits = 32;

struct Side {
  int bits = 16;
  std::string grouping, options;  // "t32", ".pre.had"
  std::string name() const { return grouping + options; }
};

// "q4", "8t32.pre": what stands behind the letter of a side.
std::optional<Side> parse_side(std::string_view text) {
  Side side;
  if (text.starts_with('q')) {
    text.remove_prefix(1);
    side.grouping = kBlocks;
  }
  const std::optional<int> bits = take_number(text);
  if (!bits || *bits < 1 || *bits > kMostBits) return std::nullopt;
  side.bits = *bits;
  const size_t dot = std::min(text.find('.'), text.size());
  if (dot > 0) side.grouping = text.substr(0, dot);
  side.options = text.substr(dot);
  return side;
}

struct Base {
  Side keys, values;
  std::string whole;  // options of the whole scheme: "recent64.sink4"
};

bool of_whole_scheme(std::string_view option) {
  return option.starts_with("recent") || option.starts_with("sink") || option == "atp";
}

// No grouping and no option has a 'v' in its name, so that the first one begins the values.
std::optional<Base> parse_base(std::string_view text) {
  const size_t values = text.find('v');
  if (!text.starts_with('k') || values == std::string_view::npos) return std::nullopt;
  std::string_view keys = text.substr(1, values - 1);
  if (keys.ends_with('.')) keys.remove_suffix(1);
  Base base;
  std::string of_values;
  for (const std::string& part : split(text.substr(values + 1), '.')) {
    std::string& place = of_whole_scheme(part) ? base.whole : of_values;
    place += (place.empty() ? "" : ".") + part;
  }
  const auto k = parse_side(keys), v = parse_side(of_values);
  if (!k || !v) return std::nullopt;
  base.keys = *k;
  base.values = *v;
  return base;
}

// What canonical text leaves out: a side without a grouping has the other side's, or the usual one.
void imply_grouping(Side& side, const std::string& other) {
  if (side.grouping.empty()) side.grouping = other.empty() || other == kBlocks ? kUsualGroup : other;
}

std::string variant_of(Base base) {
  const bool plain_keys = base.keys.bits == 16 && base.keys.name().empty();
  const bool plain_values = base.values.bits == 16 && base.values.name().empty();
  if (plain_keys && plain_values) return base.whole;
  const std::string keys = base.keys.grouping, values = base.values.grouping;
  imply_grouping(base.keys, values);
  imply_grouping(base.values, keys);
  const std::string k = base.keys.name(), v = base.values.name();
  // A side of 16 bits has no grouping of its own; it goes with the other's, whatever that is.
  std::string variant = k == v || plain_values ? k : plain_keys ? v : fmt::format("keys {}, values {}", k, v);
  return variant + (base.whole.empty() ? "" : ", " + base.whole);
}

// "k8", "k8t32.pre.v4", "v2": changes bits and groups of the sides that are named.
bool change_bits(std::string_view change, LayerBits& bits) {
  const size_t values = std::min(change.find('v'), change.size());
  std::string_view keys = change.substr(0, values);
  if (keys.ends_with('.')) keys.remove_suffix(1);
  if (!keys.empty()) {
    const auto side = keys.starts_with('k') ? parse_side(keys.substr(1)) : std::nullopt;
    if (!side) return false;
    bits.k = side->bits;
    bits.k_groups = side->grouping;
  }
  if (values == change.size()) return !keys.empty();
  const auto side = parse_side(change.substr(values + 1));
  if (!side) return false;
  bits.v = side->bits;
  bits.v_groups = side->grouping;
  return true;
}

// "0-3:k8v8" applied to the layers it names, which are added where they are beyond the last.
bool apply_change(std::string_view text, const LayerBits& base, std::vector<LayerBits>& layers) {
  const std::optional<int> first = take_number(text);
  std::optional<int> last = first;
  if (first && text.starts_with('-')) {
    text.remove_prefix(1);
    last = take_number(text);
  }
  if (!first || !last || *last < *first || *last >= kMostLayers || !text.starts_with(':')) return false;
  text.remove_prefix(1);
  if (layers.size() <= static_cast<size_t>(*last)) layers.resize(static_cast<size_t>(*last) + 1, base);
  for (int layer = *first; layer <= *last; ++layer) {
    if (!change_bits(text, layers[static_cast<size_t>(layer)])) return false;
  }
  return true;
}

}  // namespace

std::optional<SchemeBits> scheme_bits(std::string_view kv) {
  if (kv.find(',') != std::string_view::npos) return std::nullopt;
  const std::optional<Base> base = parse_base(kv);
  if (!base) return std::nullopt;
  return SchemeBits{base->keys.bits, base->values.bits, variant_of(*base)};
}

std::vector<LayerBits> bits_by_layer(std::string_view kv, int layers) {
  const std::vector<std::string> parts = split(kv, ',');
  const std::optional<Base> base = parts.empty() ? std::nullopt : parse_base(parts.front());
  if (!base) return {};
  const LayerBits everywhere{.k = base->keys.bits, .v = base->values.bits};
  std::vector<LayerBits> bits(static_cast<size_t>(std::clamp(layers, 0, kMostLayers)), everywhere);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!apply_change(parts[i], everywhere, bits)) return {};
  }
  return bits;
}

}  // namespace kvpareto
