#include "cli/weight_probes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "search/allocation.h"

namespace kvpareto {
namespace {

std::string format_text(const WeightFormat& format) { return to_text(WeightChoice{.stored = false, .format = format}); }

size_t bytes_of_scheme(const WeightScheme& scheme, const Checkpoint& checkpoint, const ModelShape& shape,
                       const Backend& backend) {
  return weights_bytes(shape, plan_weights(checkpoint, shape, scheme), backend);
}

// What is left of the loss of groups of 128 in smaller ones. Measured of 32: .47 on Qwen2.5-Coder-0.5B, fitted by AWQ
// or not; mixtures of the 1.5B model fit .70 and .51 (bench/results/2026-11-29-weights-openings.md).
double left_of_loss(const WeightFormat& format) {
  if (format.codec == WeightCodec::kInt8) return 0;
  return format.group == 32 ? 0.5 : format.group == 64 ? 0.7 : 1;
}

// The formats that a linear may have instead, itself first.
std::vector<WeightFormat> finer_formats(const WeightFormat& format) {
  std::vector<WeightFormat> formats = {format};
  for (const int group : {64, 32}) {
    if (group < format.group) formats.push_back({format.codec, group});
  }
  formats.push_back({WeightCodec::kInt8, 128});
  return formats;
}

// The format of most layers, then the layers that differ, in a row where they can be. chosen[layer].
void add_changes(LinearKind kind, const std::vector<WeightFormat>& chosen, WeightScheme& scheme) {
  const auto uses = [&](const WeightFormat& format) { return std::count(chosen.begin(), chosen.end(), format); };
  const WeightFormat usual = *std::max_element(
      chosen.begin(), chosen.end(), [&](const WeightFormat& a, const WeightFormat& b) { return uses(a) < uses(b); });
  const auto change = [&](std::optional<std::pair<int, int>> layers, const WeightFormat& format) {
    scheme.changes.push_back({layers, kind, {.stored = false, .format = format}});
  };
  if (!(usual == scheme.linears.format)) change({}, usual);
  for (size_t first = 0, last; first < chosen.size(); first = last + 1) {
    for (last = first; last + 1 < chosen.size() && chosen[last + 1] == chosen[first];) ++last;
    if (!(chosen[first] == usual)) change(std::pair{static_cast<int>(first), static_cast<int>(last)}, chosen[first]);
  }
}

}  // namespace

WeightFormat parse_probe_format(const std::string& text) {
  const WeightScheme scheme = parse_weights(text);
  const bool plain = scheme.changes.empty() && !scheme.linears.stored && is_grouped(scheme.linears.format.codec);
  if (!plain || text != format_text(scheme.linears.format)) {
    fail_usage("--weights: wanted bits and group such as w4g128, found '{}'", text);
  }
  return scheme.linears.format;
}

WeightScheme probe_weights(const WeightFormat& format, LinearKind kind, int layer) {
  WeightScheme scheme;
  scheme.changes.push_back({std::pair{layer, layer}, kind, {.stored = false, .format = format}});
  return scheme;
}

WeightScheme suggested_weights(const Sensitivity& table, const WeightFormat& format, const Checkpoint& checkpoint,
                               const ModelShape& shape, const Backend& backend, double share) {
  constexpr size_t kCells = 2000;  // of the range of bytes
  WeightScheme scheme;
  scheme.linears = {.stored = false, .format = format};
  if (format.codec == WeightCodec::kInt8) return scheme;  // which counts as no loss
  const auto whole = static_cast<double>(bytes_of_scheme(scheme, checkpoint, shape, backend));
  const std::vector<WeightFormat> formats = finer_formats(format);
  std::vector<std::vector<WeightFormat>> chosen(std::size(kLinearKinds),
                                                std::vector<WeightFormat>(static_cast<size_t>(shape.layers), format));
  std::vector<WeightFormat*> places;
  std::vector<std::vector<Share>> shares;
  for (size_t kind = 0; kind < std::size(kLinearKinds); ++kind) {
    const std::string side = fmt::format("{}:{}", kLinearKinds[kind], format_text(format));
    const auto column = std::find(table.sides.begin(), table.sides.end(), side);
    if (column == table.sides.end()) continue;
    for (const Sensitivity::Layer& row : table.layers) {
      const double loss = row.loss[static_cast<size_t>(column - table.sides.begin())].value / left_of_loss(format);
      if (!(loss > 0)) continue;
      std::vector<Share> choices;
      for (const WeightFormat& finer : formats) {
        WeightScheme one = scheme;
        one.changes.push_back(
            {std::pair{row.layer, row.layer}, static_cast<LinearKind>(kind), {.stored = false, .format = finer}});
        const auto bytes = static_cast<double>(bytes_of_scheme(one, checkpoint, shape, backend));
        choices.push_back({bytes - whole, loss * (left_of_loss(finer) - left_of_loss(format))});
      }
      shares.push_back(choices);
      places.push_back(&chosen[kind][static_cast<size_t>(row.layer)]);
    }
  }
  Choices best;
  for (const Choices& choices : best_allocations(shares, kCells)) {
    double bytes = 0;
    for (size_t i = 0; i < shares.size(); ++i) bytes += shares[i][static_cast<size_t>(choices[i])].bytes;
    if (bytes <= share * whole) best = choices;
  }
  for (size_t i = 0; i < best.size(); ++i) *places[i] = formats[static_cast<size_t>(best[i])];
  for (size_t kind = 0; kind < chosen.size(); ++kind) add_changes(static_cast<LinearKind>(kind), chosen[kind], scheme);
  return scheme;
}

}  // namespace kvpareto
