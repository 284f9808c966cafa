#include "cli/describe_point.h"

#include <fmt/format.h>

#include "kv/scheme.h"
#include "quant/weight_scheme.h"

namespace kvpareto {
namespace {

// Of a value of a matrix that is held as the file has it: the usual formats of GGUF.
constexpr double kStoredBits = 5;

double bits_of(const SideScheme& side, int head_dim) {
  const int group = side.group == kWholeHead ? head_dim : side.group;
  const double metadata = side.codec == Codec::kBf16 || side.span == kWholeLayer ? 0 : 32.0 / (group * side.span);
  return kvpareto::bits_of(side.codec) + metadata;
}

// Its text without the bits and the fit: choices that differ in these alone spread their losses alike over the layers.
std::string family_of(const SideScheme& side) {
  SideScheme kind = side;
  kind.codec = Codec::kInt4;
  kind.fit = Fit::kRange;
  return to_text(kind);
}

void add_sides(Description& description, const KvScheme& scheme, int layers, int head_dim, Detail detail) {
  const bool together = detail == Detail::kTogether && scheme.changed().empty();
  for (int layer = 0; layer < (together ? 1 : layers); ++layer) {
    const LayerScheme& sides = scheme.at(layer);
    for (const auto& [part, side] : {std::pair("keys", sides.keys), {"values", sides.values}}) {
      if (side.codec == Codec::kBf16) continue;
      description.effects.push_back(
          {part, layer, to_text(side), family_of(side), bits_of(side, head_dim), together ? 1 : layers});
    }
  }
}

bool is_exact(const WeightChoice& choice) { return !choice.stored && choice.format.codec == WeightCodec::kBf16; }

double bits_of(const WeightChoice& choice) {
  if (choice.stored) return kStoredBits;
  const int sub = choice.format.sub();
  return choice.format.bits() + (sub > 0 ? 24.0 / sub : 0);  // an f16 scale and a zero point
}

void add_weights(Description& description, const WeightScheme& scheme, int layers) {
  const std::string family = scheme.awq ? "awq" : "nearest";
  const auto add = [&](const char* part, const WeightChoice& choice, int layer, int of, int kinds) {
    if (is_exact(choice)) return;
    description.effects.push_back({part, layer, to_text(choice) + " " + family, family, bits_of(choice), of, kinds});
  };
  constexpr int kKinds = static_cast<int>(std::size(kLinearKinds));
  if (scheme.changes.empty()) add("weights", scheme.linears, 0, 1, 1);
  for (int place = 0; !scheme.changes.empty() && place < layers * kKinds; ++place) {
    add("weights", scheme.at(place / kKinds, static_cast<LinearKind>(place % kKinds)), place, layers * kKinds, kKinds);
  }
  add("table", scheme.table, 0, 1, 1);
  const bool quantized = !is_exact(scheme.linears) || !scheme.changes.empty();
  if (quantized && scheme.activations == Activations::kFloat) description.scales.push_back("a16");
}

}  // namespace

Description describe_point(const Point& point, int layers, int head_dim, Detail detail) {
  Description description;
  const KvScheme scheme = parse_scheme(point.kv);
  add_sides(description, scheme, layers, head_dim, detail);
  add_weights(description, parse_weights(point.weights), layers);
  if (scheme.recent > 0 || scheme.sinks > 0) {
    description.scales.push_back(fmt::format("recent{}.sink{}", scheme.recent, scheme.sinks));
  }
  if (scheme.attend_first) description.scales.push_back("atp");
  if (point.chunk != Point().chunk) description.scales.push_back(fmt::format("chunk{}", point.chunk));
  return description;
}

}  // namespace kvpareto
