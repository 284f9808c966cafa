#include "quant/weight_scheme.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

constexpr int kMostLayers = 1024;
constexpr int kDefaultGroup = 128, kDefaultTableGroup = 32;  // of int4 tables; int8 ones take kDefaultGroup
constexpr std::string_view kStored = "stored";

// A user's text as a part of one line.
std::string shown(std::string_view text) {
  std::string part(text.substr(0, 60));
  std::replace_if(
      part.begin(), part.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text.size() > 60 ? part + "..." : part;
}

// Reads the parts of one text off its front.
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
  std::optional<int> number() { return take_number(rest_); }
  [[noreturn]] void refuse(const std::string& reason) const {
    fail_usage("weights '{}': {}; examples: w16, w8g128, w4g128e8, w4g128,down:w8g128, stored", shown(whole_), reason);
  }

 private:
  std::string_view whole_, rest_;
};

WeightCodec codec_of_bits(const Reader& reader, std::optional<int> bits, bool table) {
  if (bits == 16) return WeightCodec::kBf16;
  if (bits == 8) return WeightCodec::kInt8;
  if (bits == 4) return WeightCodec::kInt4;
  if (bits == 3 && !table) return WeightCodec::kInt3;
  const std::string wanted = table ? "16, 8, 4 or 'stored' after 'e'" : "16, 8, 4 or 3 bits after 'w'";
  reader.refuse(fmt::format("wanted {}, found '{}'", wanted, bits ? std::to_string(*bits) : shown(reader.rest())));
}

int default_group(WeightCodec codec, bool table) {
  if (!is_grouped(codec)) return 0;
  return table && codec == WeightCodec::kInt4 ? kDefaultTableGroup : kDefaultGroup;
}

// What follows 'w' or 'e'.
WeightChoice take_choice(Reader& reader, bool table) {
  WeightChoice choice;
  choice.format.codec = codec_of_bits(reader, reader.number(), table);
  choice.format.group = default_group(choice.format.codec, table);
  if (!is_grouped(choice.format.codec) || !reader.take("g")) return choice;
  const std::optional<int> group = reader.number();
  if (group != 32 && group != 64 && group != 128) {
    reader.refuse(fmt::format("wanted a group of 128, 64 or 32 after 'g', found '{}'",
                              group ? std::to_string(*group) : shown(reader.rest())));
  }
  choice.format.group = *group;
  return choice;
}

WeightChoice take_linears(Reader& reader) {
  if (reader.take(kStored)) return {.stored = true, .format = {}};
  if (!reader.take("w"))
    reader.refuse(fmt::format("wanted 'w' and bits, or 'stored', found '{}'", shown(reader.rest())));
  return take_choice(reader, false);
}

void take_options(Reader& reader, WeightScheme& scheme) {
  static const std::vector<std::string> kOptions = {"a16", "a8", "awq"};
  while (reader.take(".")) {
    if (reader.take("a16")) {
      scheme.activations = Activations::kFloat;
    } else if (reader.take("a8")) {
      scheme.activations = Activations::kInt8;
    } else if (reader.take("awq")) {
      scheme.awq = true;
    } else {
      reader.refuse(fmt::format("'{}' is not an option, did you mean {}", shown(reader.rest()),
                                nearest(reader.rest(), kOptions)));
    }
  }
}

std::optional<LinearKind> take_kind(Reader& reader) {
  for (size_t i = 0; i < std::size(kLinearKinds); ++i) {
    if (reader.take(kLinearKinds[i])) return static_cast<LinearKind>(i);
  }
  return {};
}

WeightChange take_change(Reader& reader) {
  WeightChange change;
  const std::optional<int> first = reader.number();
  if (first) {
    std::optional<int> last = first;
    if (reader.take("-")) last = reader.number();
    if (!last || *last < *first || *last >= kMostLayers) {
      reader.refuse(fmt::format("wanted a layer or a range of layers below {}, as in 0-1:w8g64", kMostLayers));
    }
    change.layers = {*first, *last};
  }
  if (!first || reader.take(".")) {
    change.kind = take_kind(reader);
    if (!change.kind) {
      reader.refuse(fmt::format("wanted layers or one of qkv, o, gateup, down, found '{}'", shown(reader.rest())));
    }
  }
  if (!reader.take(":")) reader.refuse("wanted ':' and the weights there, as in down:w8g128");
  change.choice = take_linears(reader);
  return change;
}

std::string format_text(const WeightFormat& format) {
  const std::string group = is_grouped(format.codec) ? fmt::format("g{}", format.group) : "";
  return fmt::format("{}{}", info_of(format.codec).name.substr(1), group);
}

std::string place_text(const WeightChange& change) {
  std::string text;
  if (change.layers) {
    text = std::to_string(change.layers->first);
    if (change.layers->second != change.layers->first) text += fmt::format("-{}", change.layers->second);
  }
  if (change.layers && change.kind) text += ".";
  if (change.kind) text += kLinearKinds[static_cast<size_t>(*change.kind)];
  return text;
}

}  // namespace

const WeightChoice& WeightScheme::at(int layer, LinearKind kind) const {
  const WeightChoice* found = &linears;
  for (const WeightChange& change : changes) {
    const bool layer_fits = !change.layers || (change.layers->first <= layer && layer <= change.layers->second);
    if (layer_fits && (!change.kind || *change.kind == kind)) found = &change.choice;
  }
  return *found;
}

std::string to_text(const WeightChoice& choice) {
  return choice.stored ? std::string(kStored) : "w" + format_text(choice.format);
}

std::string to_text(const WeightScheme& scheme) {
  std::string text = to_text(scheme.linears);
  const WeightChoice plain{.stored = scheme.linears.stored, .format = {}};
  if (!(scheme.table == plain)) {
    const WeightFormat& format = scheme.table.format;
    const bool usual = !scheme.table.stored && format.group == default_group(format.codec, true);
    text += "e" + (scheme.table.stored ? std::string(kStored)
                   : usual             ? std::string(info_of(format.codec).name.substr(1))
                                       : format_text(format));
  }
  if (scheme.activations != kDefaultActivations) text += scheme.activations == Activations::kInt8 ? ".a8" : ".a16";
  if (scheme.awq) text += ".awq";
  for (const WeightChange& change : scheme.changes) {
    text += fmt::format(",{}:{}", place_text(change), to_text(change.choice));
  }
  return text;
}

WeightScheme parse_weights(std::string_view text) {
  Reader reader(text);
  WeightScheme scheme;
  scheme.linears = take_linears(reader);
  scheme.table.stored = scheme.linears.stored;
  if (reader.take("e")) {
    scheme.table.stored = reader.take(kStored);
    if (!scheme.table.stored) scheme.table = take_choice(reader, true);
  }
  take_options(reader, scheme);
  while (reader.take(",")) {
    const WeightChange change = take_change(reader);
    // Only the last of two for the same place says anything.
    std::erase_if(scheme.changes, [&](const WeightChange& other) { return other.same_place(change); });
    scheme.changes.push_back(change);
  }
  if (!reader.done()) reader.refuse(fmt::format("'{}' is left over", shown(reader.rest())));
  return scheme;
}

std::vector<std::string> split_weights(std::string_view list) {
  std::vector<std::string> texts;
  for (const std::string& part : split(list, ',')) {
    if (part.find(':') != std::string::npos && !texts.empty()) {
      texts.back() += "," + part;
    } else {
      texts.push_back(part);
    }
  }
  return texts;
}

}  // namespace kvpareto
