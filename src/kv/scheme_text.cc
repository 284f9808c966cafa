#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "kv/scheme.h"

namespace kvpareto {
namespace {

constexpr int kLargestGroup = 1024;
constexpr std::array kSpans = {32, 64, 128};  // tokens; a block of the cache holds whole spans

// The options of a side, in the order in which they are written.
struct SideOption {
  std::string_view name;
  void (*set)(SideScheme&);
  bool (*is_set)(const SideScheme&);
};
constexpr SideOption kSideOptions[] = {
    {"pre", [](SideScheme& s) { s.before_rope = true; }, [](const SideScheme& s) { return s.before_rope; }},
    {"mean", [](SideScheme& s) { s.offset = Offset::kMean; }, [](const SideScheme& s) { return s.offset == Offset::kMean; }},
    {"bias", [](SideScheme& s) { s.offset = Offset::kBias; }, [](const SideScheme& s) { return s.offset == Offset::kBias; }},
    {"had", [](SideScheme& s) { s.rotated = true; }, [](const SideScheme& s) { return s.rotated; }},
    {"fit", [](SideScheme& s) { s.fit = Fit::kSquares; },
     [](const SideScheme& s) { return s.fit == Fit::kSquares && has_scale(s.codec); }},
};
constexpr std::string_view kPlain = "plain";  // in a change: none of them

void clear_options(SideScheme& side) {
  side.before_rope = side.rotated = false;
  side.offset = Offset::kNone;
  if (side.fit == Fit::kSquares) side.fit = Fit::kRange;
}

std::string options_text(const SideScheme& side) {
  std::string text;
  for (const SideOption& option : kSideOptions) {
    if (option.is_set(side)) text += "." + std::string(option.name);
  }
  return text;
}

const CodecInfo& nearest_codec(int bits) {
  return *std::min_element(kCodecs.begin(), kCodecs.end(), [&](const CodecInfo& a, const CodecInfo& b) {
    return std::abs(int64_t{a.bits} - bits) < std::abs(int64_t{b.bits} - bits);
  });
}

int nearest_group(int group) {
  const int rounded = (std::min(group, kLargestGroup) + kChunk / 2) / kChunk * kChunk;
  return std::clamp(rounded, kChunk, kLargestGroup);
}

int nearest_span(int span) {
  return *std::min_element(kSpans.begin(), kSpans.end(),
                           [&](int a, int b) { return std::abs(int64_t{a} - span) < std::abs(int64_t{b} - span); });
}

// A user's text as a part of one line: short, no control characters.
std::string shown(std::string_view text) {
  constexpr size_t kLongest = 40;
  std::string line(text.substr(0, kLongest));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text.size() > kLongest ? line + "..." : line;
}

// Whether scale and minimum have a grouping that can be written: bf16 has none, q8 and q4 have one alone.
bool has_grouping(const SideScheme& side) { return has_scale(side.codec) && side.fit != Fit::kSymmetric; }
bool same_grouping(const SideScheme& a, const SideScheme& b) { return a.group == b.group && a.span == b.span; }

std::string grouping_text(const SideScheme& side) {
  if (side.span == kWholeLayer) return "p";
  if (side.span == 1) return side.group == kWholeHead ? "gh" : fmt::format("g{}", side.group);
  if (side.group == 1) return fmt::format("t{}", side.span);
  return side.group == kWholeHead ? fmt::format("b{}xh", side.span) : fmt::format("b{}x{}", side.span, side.group);
}

std::string bits_text(const SideScheme& side) {
  return fmt::format("{}{}", side.fit == Fit::kSymmetric && has_scale(side.codec) ? "q" : "", bits_of(side.codec));
}

// Reads the parts of one text off its front; refuses with the whole text and the reason.
class Reader {
 public:
  explicit Reader(std::string_view text) : whole_(text), rest_(text) {}

  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::optional<int> number() {
    int value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc() || value < 0) return std::nullopt;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }

  // Letters at the front.
  std::string_view word() const {
    size_t length = 0;
    while (length < rest_.size() && rest_[length] >= 'a' && rest_[length] <= 'z') ++length;
    return rest_.substr(0, length);
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    fail_usage(
        "KV scheme '{}': {}; write it like k8v4g64 (bits 16, 8, 4, 3, 2; groups of 32, 64, 128 channels or gh, the whole "
        "head; t32: one scale a channel over 32 tokens) or k4t32.pre.v4g32.had",
        shown(whole_), reason);
  }
  [[noreturn]] void refuse_left_over() const { refuse(fmt::format("'{}' is left over", shown(rest_))); }

 private:
  std::string_view whole_, rest_;
};

void take_bits(Reader& reader, char letter, SideScheme& side) {
  const bool symmetric = reader.take("q");
  const std::optional<int> bits = reader.number();
  if (!bits) reader.refuse(fmt::format("wanted bits after '{}', found '{}'", letter, shown(reader.rest())));
  if (symmetric && *bits != 8 && *bits != 4) {
    reader.refuse(fmt::format("'{0}q{1}' names no codec, the nearest is {0}q{2}", letter, *bits, *bits > 6 ? 8 : 4));
  }
  const CodecInfo& codec = nearest_codec(*bits);
  if (codec.bits != *bits) {
    reader.refuse(fmt::format("'{0}{1}' names no codec, the nearest is {0}{2}", letter, *bits, codec.bits));
  }
  side.codec = codec.codec;
  if (symmetric) {
    side.fit = Fit::kSymmetric;
    side.group = 32;
    side.span = 1;
  } else if (side.fit == Fit::kSymmetric) {
    side.fit = Fit::kRange;
  }
}

int take_channels(Reader& reader, std::string_view after) {
  if (reader.take("h")) return kWholeHead;
  const std::optional<int> group = reader.number();
  if (!group) reader.refuse(fmt::format("'{}' without a group, found '{}'", after, shown(reader.rest())));
  if (*group != nearest_group(*group)) {
    reader.refuse(fmt::format("group {} is not a multiple of {} up to {}, the nearest is {}", *group, kChunk,
                              kLargestGroup, nearest_group(*group)));
  }
  return *group;
}

int take_tokens(Reader& reader, std::string_view after) {
  const std::optional<int> span = reader.number();
  if (!span) reader.refuse(fmt::format("'{}' without tokens, found '{}'", after, shown(reader.rest())));
  if (*span != nearest_span(*span)) {
    reader.refuse(fmt::format("a span of {} tokens is none of 32, 64, 128, the nearest is {}", *span, nearest_span(*span)));
  }
  return *span;
}

// Whether a grouping was written.
bool take_grouping(Reader& reader, SideScheme& side) {
  if (!has_grouping(side) && has_scale(side.codec)) return false;
  if (reader.take("g")) {
    side.group = take_channels(reader, "g");
    side.span = 1;
  } else if (reader.take("t")) {
    side.span = take_tokens(reader, "t");
    side.group = 1;
  } else if (reader.take("b")) {
    side.span = take_tokens(reader, "b");
    if (!reader.take("x")) reader.refuse("a block is written tokens x channels, as in b64x32");
    side.group = take_channels(reader, "x");
  } else if (reader.take("p")) {
    side.span = kWholeLayer;
    side.group = kWholeHead;
  } else {
    return false;
  }
  return true;
}

const SideOption* find_option(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kSideOptions), std::end(kSideOptions), [&](const SideOption& o) { return o.name == name; });
  return found == std::end(kSideOptions) ? nullptr : found;
}

// Options of a side; stops before ".v4" and before options of the whole scheme. `written` options replace those that
// the side had.
void take_options(Reader& reader, SideScheme& side, bool may_be_plain) {
  bool first = true;
  while (reader.rest().starts_with(".")) {
    Reader ahead = reader;
    ahead.take(".");
    const std::string_view name = ahead.word();
    const SideOption* option = find_option(name);
    const bool plain = may_be_plain && name == kPlain;
    if (option == nullptr && !plain) return;
    if (first) clear_options(side);
    first = false;
    if (option != nullptr) {
      if (side.fit == Fit::kSymmetric && option->name == "fit") reader.refuse("q8 and q4 have a fit of their own");
      option->set(side);
    }
    ahead.take(name);
    reader = ahead;
  }
}

// "k" or "v" and what follows it, as a change of `side`; whether a grouping was written.
bool take_side(Reader& reader, char letter, SideScheme& side, bool may_be_plain) {
  if (!reader.take(std::string_view(&letter, 1))) {
    reader.refuse(fmt::format("wanted '{}' at {}", letter, reader.done() ? "the end" : "'" + shown(reader.rest()) + "'"));
  }
  take_bits(reader, letter, side);
  const bool grouped = take_grouping(reader, side);
  take_options(reader, side, may_be_plain);
  return grouped;
}

void take_whole(Reader& reader, KvScheme& scheme) {
  while (reader.take(".")) {
    const std::string_view name = reader.word();
    if (name == "atp") {
      reader.take(name);
      scheme.attend_first = true;
      continue;
    }
    if (name != "recent" && name != "sink") {
      std::vector<std::string> known = {"recent64", "sink4", "atp"};
      for (const SideOption& option : kSideOptions) known.emplace_back(option.name);
      reader.refuse(fmt::format("'{}' is no option, did you mean {}", shown(name.empty() ? reader.rest() : name),
                                nearest(name, known)));
    }
    reader.take(name);
    const std::optional<int> tokens = reader.number();
    if (!tokens || *tokens > kMostExact) {
      reader.refuse(fmt::format("wanted 0 to {} tokens after '{}', found '{}'", kMostExact, name,
                                tokens ? std::to_string(*tokens) : shown(reader.rest())));
    }
    (name == "recent" ? scheme.recent : scheme.sinks) = *tokens;
  }
}

// "0-3:k8v8".
void take_change(Reader& reader, KvScheme& scheme) {
  const std::optional<int> first = reader.number();
  std::optional<int> last = first;
  if (first && reader.take("-")) last = reader.number();
  if (!first || !last || *last < *first || *last >= kMostLayers) {
    reader.refuse(fmt::format("wanted a layer or a range of layers below {}, as in 0-1:k8", kMostLayers));
  }
  if (!reader.take(":")) reader.refuse("wanted ':' after the layers, as in 0-1:k8");
  const Reader start = reader;
  for (int layer = *first; layer <= *last; ++layer) {
    reader = start;
    LayerScheme sides = scheme.at(layer);
    const bool keys = reader.rest().starts_with("k");
    if (keys) take_side(reader, 'k', sides.keys, true);
    if (keys) {
      Reader ahead = reader;
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
  if (side.fit == Fit::kSymmetric || (kept.fit == Fit::kSymmetric && side.fit != Fit::kSymmetric)) kept.fit = Fit::kRange;
  const std::string options = options_text(side);
  if (options != options_text(kept)) text += options.empty() ? "." + std::string(kPlain) : options;
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
  std::string text = "k" + bits_text(keys) + (has_grouping(keys) && !shared ? grouping_text(keys) : "") + options_text(keys);
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
  Reader reader(text);
  LayerScheme base;
  const bool keys_grouped = take_side(reader, 'k', base.keys, false);
  if (reader.rest().starts_with(".v")) reader.take(".");
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
    Reader reader(written);
    SideScheme side;
    const bool known_start = longest > 0 || (!text.empty() && text.front() >= '0' && text.front() <= '9');
    if (known_start) {
      const bool grouped = take_side(reader, 'v', side, false);
      if (reader.done() && (has_scale(side.codec) || !grouped)) return side;
    }
  } catch (const Error&) {
  }
  fail_usage(
      "KV type '{}' is unknown; did you mean {}? Known: {}; integers take a group, as in int4g32 or int4t32, and options, "
      "as in int4t32.pre",
      shown(text), nearest(text, known), join(known, " "));
}

}  // namespace kvpareto
