#include "kv/scheme.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

constexpr int kLargestGroup = 1024;

const CodecInfo& nearest_codec(int bits) {
  return *std::min_element(kCodecs.begin(), kCodecs.end(), [&](const CodecInfo& a, const CodecInfo& b) {
    return std::abs(int64_t{a.bits} - bits) < std::abs(int64_t{b.bits} - bits);
  });
}

int nearest_group(int group) {
  const int rounded = (std::min(group, kLargestGroup) + kChunk / 2) / kChunk * kChunk;
  return std::clamp(rounded, kChunk, kLargestGroup);
}

// A user's text as a part of one line: short, no control characters.
std::string shown(std::string_view text) {
  constexpr size_t kLongest = 40;
  std::string line(text.substr(0, kLongest));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text.size() > kLongest ? line + "..." : line;
}

// A number at the front of `text`, taken off it.
std::optional<int> take_number(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

struct WrittenSide {
  Codec codec = Codec::kBf16;
  std::optional<int> group;
};

[[noreturn]] void refuse(std::string_view whole, const std::string& reason) {
  fail_usage(
      "KV scheme '{}': {}; write it like k8v4g64 (bits 16, 8, 4, 3, 2; groups of 32, 64, 128 or h, the whole head)",
      shown(whole), reason);
}

WrittenSide take_side(std::string_view whole, std::string_view& rest, char letter) {
  if (rest.empty() || rest.front() != letter) {
    refuse(whole, fmt::format("wanted '{}' at {}", letter, rest.empty() ? "the end" : "'" + shown(rest) + "'"));
  }
  rest.remove_prefix(1);
  const std::optional<int> bits = take_number(rest);
  if (!bits) refuse(whole, fmt::format("wanted bits after '{}', found '{}'", letter, shown(rest)));
  const CodecInfo& codec = nearest_codec(*bits);
  if (codec.bits != *bits) {
    refuse(whole, fmt::format("'{0}{1}' names no codec, the nearest is {0}{2}", letter, *bits, codec.bits));
  }
  WrittenSide side{codec.codec, std::nullopt};
  if (rest.empty() || rest.front() != 'g') return side;
  rest.remove_prefix(1);
  if (!rest.empty() && rest.front() == 'h') {
    rest.remove_prefix(1);
    side.group = kWholeHead;
    return side;
  }
  const std::optional<int> group = take_number(rest);
  if (!group) refuse(whole, fmt::format("'g' without a group, found '{}'", shown(rest)));
  if (*group != nearest_group(*group)) {
    refuse(whole, fmt::format("group {} is not a multiple of {} up to {}, the nearest is {}", *group, kChunk,
                              kLargestGroup, nearest_group(*group)));
  }
  side.group = *group;
  return side;
}

std::string group_text(int group) { return group == kWholeHead ? "gh" : fmt::format("g{}", group); }

}  // namespace

std::string to_text(const SideScheme& side) {
  const std::string name(kCodecs[static_cast<size_t>(side.codec)].name);
  return has_scale(side.codec) ? name + group_text(side.group) : name;
}

std::string to_text(const KvScheme& scheme) {
  const auto& [keys, values] = scheme.at(0);
  const bool both = has_scale(keys.codec) && has_scale(values.codec);
  const auto one = [&](char letter, const SideScheme& side, bool with_group) {
    return fmt::format("{}{}{}", letter, bits_of(side.codec), with_group ? group_text(side.group) : "");
  };
  const bool shared = both && keys.group == values.group;
  return one('k', keys, has_scale(keys.codec) && !shared) + one('v', values, has_scale(values.codec));
}

KvScheme parse_scheme(std::string_view text) {
  std::string_view rest = text;
  const WrittenSide keys = take_side(text, rest, 'k');
  const WrittenSide values = take_side(text, rest, 'v');
  if (!rest.empty()) refuse(text, fmt::format("'{}' is left over", shown(rest)));
  const auto side = [](const WrittenSide& own, const WrittenSide& other) {
    return SideScheme{own.codec, own.group.value_or(other.group.value_or(kDefaultGroup))};
  };
  return KvScheme(LayerScheme{side(keys, values), side(values, keys)});
}

SideScheme parse_side(std::string_view text) {
  struct Name {
    std::string_view name;
    SideScheme side;
  };
  static constexpr std::array<Name, 9> kNames = {{{"f16", {Codec::kBf16}},
                                                  {"bf16", {Codec::kBf16}},
                                                  {"16", {Codec::kBf16}},
                                                  {"q8_0", {Codec::kInt8, 32}},
                                                  {"q4_0", {Codec::kInt4, 32}},
                                                  {"int8", {Codec::kInt8}},
                                                  {"int4", {Codec::kInt4}},
                                                  {"int3", {Codec::kInt3}},
                                                  {"int2", {Codec::kInt2}}}};
  std::vector<std::string> known;
  for (const Name& name : kNames) {
    if (name.name == text) return name.side;
    known.emplace_back(name.name);
  }
  // "int4g32", "8", "4g128": an integer codec with its own group.
  std::string_view rest = text;
  if (rest.starts_with("int")) rest.remove_prefix(3);
  const std::string written = "v" + std::string(rest);
  std::string_view side_text = written;
  try {
    const WrittenSide side = take_side(text, side_text, 'v');
    if (side_text.empty() && has_scale(side.codec)) return {side.codec, side.group.value_or(kDefaultGroup)};
  } catch (const Error&) {
  }
  fail_usage("KV type '{}' is unknown; did you mean {}? Known: {}; integers take a group, as in int4g32", shown(text),
             nearest(text, known), join(known, " "));
}

std::string why_invalid(const KvScheme& scheme, int layers, int head_dim) {
  if (head_dim % kChunk != 0) return fmt::format("head size {} is not a multiple of {}", head_dim, kChunk);
  for (int layer = 0; layer < layers; ++layer) {
    for (const SideScheme& side : {scheme.at(layer).keys, scheme.at(layer).values}) {
      if (!has_scale(side.codec) || side.group == kWholeHead || head_dim % side.group == 0) continue;
      int valid = side.group;
      while (head_dim % valid != 0) valid -= kChunk;
      return fmt::format("a group of {} channels does not divide the head size {}; the nearest that does is {}",
                         side.group, head_dim, valid);
    }
  }
  return {};
}

double effective_bits(const KvScheme& scheme, int layers, int head_dim) {
  double bits = 0;
  for (int layer = 0; layer < layers; ++layer) {
    for (const SideScheme& side : {scheme.at(layer).keys, scheme.at(layer).values}) {
      const int group = side.group == kWholeHead ? head_dim : side.group;
      bits += bits_of(side.codec) + (has_scale(side.codec) ? 32.0 / group : 0.0);
    }
  }
  return bits / (2.0 * layers);
}

}  // namespace kvpareto
