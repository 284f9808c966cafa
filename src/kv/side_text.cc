#include "kv/side_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"

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
    {"mean", [](SideScheme& s) { s.offset = Offset::kMean; },
     [](const SideScheme& s) { return s.offset == Offset::kMean; }},
    {"bias", [](SideScheme& s) { s.offset = Offset::kBias; },
     [](const SideScheme& s) { return s.offset == Offset::kBias; }},
    {"had", [](SideScheme& s) { s.rotated = true; }, [](const SideScheme& s) { return s.rotated; }},
    {"fit", [](SideScheme& s) { s.fit = Fit::kSquares; },
     [](const SideScheme& s) { return s.fit == Fit::kSquares && has_scale(s.codec); }},
};
void clear_options(SideScheme& side) {
  side.before_rope = side.rotated = false;
  side.offset = Offset::kNone;
  if (side.fit == Fit::kSquares) side.fit = Fit::kRange;
}

const CodecInfo& nearest_codec(int bits) {
  return *std::min_element(kCodecs.begin(), kCodecs.end(), [&](const CodecInfo& a, const CodecInfo& b) {
    return std::abs(int64_t{a.bits} - bits) < std::abs(int64_t{b.bits} - bits);
  });
}

int nearest_group(int group) {
  const int rounded = (std::min(group, kLargestGroup) + kGroupMultiple / 2) / kGroupMultiple * kGroupMultiple;
  return std::clamp(rounded, kGroupMultiple, kLargestGroup);
}

int nearest_span(int span) {
  return *std::min_element(kSpans.begin(), kSpans.end(),
                           [&](int a, int b) { return std::abs(int64_t{a} - span) < std::abs(int64_t{b} - span); });
}

void take_bits(SchemeReader& reader, char letter, SideScheme& side) {
  const bool symmetric = reader.take("q");
  const std::optional<int> bits = reader.number();
  if (!bits) reader.refuse(fmt::format("wanted bits after '{}', found '{}'", letter, shown_part(reader.rest())));
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

int take_channels(SchemeReader& reader, std::string_view after) {
  if (reader.take("h")) return kWholeHead;
  const std::optional<int> group = reader.number();
  if (!group) reader.refuse(fmt::format("'{}' without a group, found '{}'", after, shown_part(reader.rest())));
  if (*group != nearest_group(*group)) {
    reader.refuse(fmt::format("group {} is not a multiple of {} up to {}, the nearest is {}", *group, kGroupMultiple,
                              kLargestGroup, nearest_group(*group)));
  }
  return *group;
}

int take_tokens(SchemeReader& reader, std::string_view after) {
  const std::optional<int> span = reader.number();
  if (!span) reader.refuse(fmt::format("'{}' without tokens, found '{}'", after, shown_part(reader.rest())));
  if (*span != nearest_span(*span)) {
    reader.refuse(
        fmt::format("a span of {} tokens is none of 32, 64, 128, the nearest is {}", *span, nearest_span(*span)));
  }
  return *span;
}

// Whether a grouping was written.
bool take_grouping(SchemeReader& reader, SideScheme& side) {
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
  const auto found = std::find_if(std::begin(kSideOptions), std::end(kSideOptions),
                                  [&](const SideOption& o) { return o.name == name; });
  return found == std::end(kSideOptions) ? nullptr : found;
}

// Options of a side; stops before ".v4" and before options of the whole scheme. `written` options replace those that
// the side had.
void take_options(SchemeReader& reader, SideScheme& side, bool may_be_plain) {
  bool first = true;
  while (reader.rest().starts_with(".")) {
    SchemeReader ahead = reader;
    ahead.take(".");
    const std::string_view name = ahead.word();
    const SideOption* option = find_option(name);
    const bool plain = may_be_plain && name == kPlainSide;
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

}  // namespace

bool SchemeReader::take(std::string_view word) {
  if (!rest_.starts_with(word)) return false;
  rest_.remove_prefix(word.size());
  return true;
}

std::optional<int> SchemeReader::number() { return take_number(rest_); }

std::string_view SchemeReader::word() const {
  size_t length = 0;
  while (length < rest_.size() && rest_[length] >= 'a' && rest_[length] <= 'z') ++length;
  return rest_.substr(0, length);
}

void SchemeReader::refuse(const std::string& reason) const {
  fail_usage(
      "KV scheme '{}': {}; write it like k8v4g64 (bits 16, 8, 4, 3, 2; groups of 32, 64, 128 channels or gh, the whole "
      "head; t32: one scale a channel over 32 tokens) or k4t32.pre.v4g32.had",
      shown_part(whole_), reason);
}

void SchemeReader::refuse_left_over() const { refuse(fmt::format("'{}' is left over", shown_part(rest_))); }

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

std::string options_text(const SideScheme& side) {
  std::string text;
  for (const SideOption& option : kSideOptions) {
    if (option.is_set(side)) text += "." + std::string(option.name);
  }
  return text;
}

std::vector<std::string> side_option_names() {
  std::vector<std::string> names;
  for (const SideOption& option : kSideOptions) names.emplace_back(option.name);
  return names;
}

std::string shown_part(std::string_view text) {
  constexpr size_t kLongest = 40;
  std::string line(text.substr(0, kLongest));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text.size() > kLongest ? line + "..." : line;
}

bool take_side(SchemeReader& reader, char letter, SideScheme& side, bool may_be_plain) {
  if (!reader.take(std::string_view(&letter, 1))) {
    reader.refuse(
        fmt::format("wanted '{}' at {}", letter, reader.done() ? "the end" : "'" + shown_part(reader.rest()) + "'"));
  }
  take_bits(reader, letter, side);
  const bool grouped = take_grouping(reader, side);
  take_options(reader, side, may_be_plain);
  return grouped;
}

}  // namespace kvpareto
