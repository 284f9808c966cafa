#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "kv/scheme.h"
#include "kv/side_text.h"

namespace kvpareto {
namespace {

[[noreturn]] void refuse_option(const SchemeReader& reader, const std::string& wanted) {
  const std::string name(reader.word().empty() ? reader.rest() : reader.word());
  std::vector<std::string> known = side_option_names();
  for (const std::string& option : known) {
    if (name == option + "v") reader.refuse(fmt::format("'{}' lacks a point, did you mean {}.v", name, option));
  }
  known.insert(known.end(), {"recent64", "sink4", "atp"});
  reader.refuse(fmt::format("'{}' is not {}, did you mean {}", shown_part(name), wanted, nearest(name, known)));
}

void take_whole(SchemeReader& reader, KvScheme& scheme) {
  while (reader.take(".")) {
    const std::string_view name = reader.word();
    if (name == "atp") {
      reader.take(name);
      scheme.attend_first = true;
      continue;
    }
    if (name != "recent" && name != "sink") refuse_option(reader, "an option");
    reader.take(name);
    const std::optional<int> tokens = reader.number();
    if (!tokens || *tokens > kMostExact) {
      reader.refuse(fmt::format("wanted 0 to {} tokens after '{}', found '{}'", kMostExact, name,
                                tokens ? std::to_string(*tokens) : shown_part(reader.rest())));
    }
    (name == "recent" ? scheme.recent : scheme.sinks) = *tokens;
  }
}

// "0-3:k8v8".
void take_change(SchemeReader& reader, KvScheme& scheme) {
  const std::optional<int> first = reader.number();
  std::optional<int> last = first;
  if (first && reader.take("-")) last = reader.number();
  if (!first || !last || *last < *first || *last >= kMostLayers) {
    reader.refuse(fmt::format("wanted a layer or a range of layers below {}, as in 0-1:k8", kMostLayers));
  }
  if (!reader.take(":")) reader.refuse("wanted ':' after the layers, as in 0-1:k8");
  const SchemeReader start = reader;
  for (int layer = *first; layer <= *last; ++layer) {
    reader = start;
    LayerScheme sides = scheme.at(layer);
    const bool keys = reader.rest().starts_with("k");
    if (keys) take_side(reader, 'k', sides.keys, true);
    if (keys) {
      SchemeReader ahead = reader;
      if (ahead.take(".") && ahead.rest().starts_with("v")) reader = ahead;
    }
    if (!keys || reader.rest().starts_with("v")) take_side(reader, 'v', sides.values, true);
    scheme.change(layer, sides);
  }
}

// What the grouping of a side is when its base text does not say it.
void imply_grouping(SideScheme& side, const SideScheme& other, bool other_is_written) {
  side.group = other_is_written ? other.group : kDefaultGroup;
  side.span = other_is_written ? other.span : 1;
}

std::string changed_side_text(char letter, const SideScheme& side, const SideScheme& base) {
  std::string text = letter + bits_text(side);
  if (has_grouping(side) && !same_grouping(side, base)) text += grouping_text(side);
  SideScheme kept = base;  // what parsing starts from: an option that the new codec cannot have is not inherited
  kept.codec = side.codec;
  if (side.fit == Fit::kSymmetric || (kept.fit == Fit::kSymmetric && side.fit != Fit::kSymmetric))
    kept.fit = Fit::kRange;
  const std::string options = options_text(side);
  if (options != options_text(kept)) text += options.empty() ? "." + std::string(kPlainSide) : options;
  return text;
}

std::string change_text(const LayerScheme& layer, const LayerScheme& base) {
  std::string text;
  if (!(layer.keys == base.keys)) text += changed_side_text('k', layer.keys, base.keys);
  if (layer.values == base.values) return text;
  if (text.find('.') != std::string::npos) text += ".";
  return text + changed_side_text('v', layer.values, base.values);
}

}  // namespace

std::string to_text(const SideScheme& side) {
  const std::string name = side.fit == Fit::kSymmetric && has_scale(side.codec)
                               ? fmt::format("q{}_0", bits_of(side.codec))
                               : std::string(kCodecs[static_cast<size_t>(side.codec)].name);
  return name + (has_grouping(side) ? grouping_text(side) : "") + options_text(side);
}

std::string to_text(const KvScheme& scheme) {
  LayerScheme base = scheme.base();
  auto& [keys, values] = base;
  const bool shared = has_grouping(keys) && has_grouping(values) && same_grouping(keys, values);
  std::string text =
      "k" + bits_text(keys) + (has_grouping(keys) && !shared ? grouping_text(keys) : "") + options_text(keys);
  if (text.find('.') != std::string::npos) text += ".";
  text += "v" + bits_text(values) + (has_grouping(values) ? grouping_text(values) : "") + options_text(values);
  if (scheme.recent > 0) text += fmt::format(".recent{}", scheme.recent);
  if (scheme.sinks > 0) text += fmt::format(".sink{}", scheme.sinks);
  if (scheme.attend_first) text += ".atp";
  // bf16 sides have what parsing would give them.
  if (!has_scale(keys.codec)) imply_grouping(keys, values, has_grouping(values));
  if (!has_scale(values.codec)) imply_grouping(values, keys, has_grouping(keys));
  const auto& changed = scheme.changed();
  for (auto from = changed.begin(); from != changed.end();) {
    auto to = std::next(from);
    int last = from->first;
    while (to != changed.end() && to->first == last + 1 && to->second == from->second) {
      ++last;
      ++to;
    }
    text += last == from->first ? fmt::format(",{}:", last) : fmt::format(",{}-{}:", from->first, last);
    text += change_text(from->second, base);
    from = to;
  }
  return text;
}

KvScheme parse_scheme(std::string_view text) {
  SchemeReader reader(text);
  LayerScheme base;
  const bool keys_grouped = take_side(reader, 'k', base.keys, false);
  if (reader.take(".") && !reader.rest().starts_with("v")) refuse_option(reader, "an option of keys");
  const bool values_grouped = take_side(reader, 'v', base.values, false);
  if (!keys_grouped && base.keys.fit != Fit::kSymmetric) imply_grouping(base.keys, base.values, values_grouped);
  if (!values_grouped && base.values.fit != Fit::kSymmetric) imply_grouping(base.values, base.keys, keys_grouped);
  KvScheme scheme(base);
  take_whole(reader, scheme);
  while (reader.take(",")) take_change(reader, scheme);
  if (!reader.done()) reader.refuse_left_over();
  return scheme;
}

std::vector<std::string> split_schemes(std::string_view list) {
  std::vector<std::string> texts;
  for (const std::string& part : split(list, ',')) {
    const bool change = !part.empty() && part.front() >= '0' && part.front() <= '9' && !texts.empty();
    if (change) {
      texts.back() += "," + part;
    } else {
      texts.push_back(part);
    }
  }
  return texts;
}

SideScheme parse_side(std::string_view text) {
  struct Name {
    std::string_view name;
    std::string_view side;
  };
  static constexpr std::array<Name, 9> kNames = {{{"f16", "16"},
                                                  {"bf16", "16"},
                                                  {"16", "16"},
                                                  {"q8_0", "q8"},
                                                  {"q4_0", "q4"},
                                                  {"int8", "8"},
                                                  {"int4", "4"},
                                                  {"int3", "3"},
                                                  {"int2", "2"}}};
  // The longest name at the front, then grouping and options as in a scheme: "int4t32.pre", "bf16.had", "8g128".
  std::vector<std::string> known;
  std::string written;
  size_t longest = 0;
  for (const Name& name : kNames) {
    known.emplace_back(name.name);
    if (!text.starts_with(name.name) || name.name.size() <= longest) continue;
    longest = name.name.size();
    written = "v" + std::string(name.side) + std::string(text.substr(longest));
  }
  if (longest == 0) written = "v" + std::string(text);
  try {
    SchemeReader reader(written);
    SideScheme side;
    const bool known_start = longest > 0 || (!text.empty() && text.front() >= '0' && text.front() <= '9');
    if (known_start) {
      const bool grouped = take_side(reader, 'v', side, false);
      if (reader.done() && (has_scale(side.codec) || !grouped)) return side;
    }
  } catch (const Error&) {
  }
  fail_usage(
      "KV type '{}' is unknown; did you mean {}? Known: {}; integers take a group, as in int4g32 or int4t32, and "
      "options, "
      "as in int4t32.pre",
      shown_part(text), nearest(text, known), join(known, " "));
}

}  // namespace kvpareto
