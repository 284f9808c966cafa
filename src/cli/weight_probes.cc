#include "cli/weight_probes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace kvpareto {
namespace {

std::string format_text(const WeightFormat& format) { return to_text(WeightChoice{.stored = false, .format = format}); }

size_t bytes_of_scheme(const WeightScheme& scheme, const Checkpoint& checkpoint, const ModelShape& shape,
                       const Backend& backend) {
  return weights_bytes(shape, plan_weights(checkpoint, shape, scheme), backend);
}

struct Candidate {
  WeightChange change;
  double loss;
  size_t bytes;  // that it costs
};

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
  WeightScheme scheme;
  scheme.linears = {.stored = false, .format = format};
  const size_t whole = bytes_of_scheme(scheme, checkpoint, shape, backend);
  std::vector<Candidate> candidates;
  for (size_t kind = 0; kind < std::size(kLinearKinds); ++kind) {
    const std::string side = fmt::format("{}:{}", kLinearKinds[kind], format_text(format));
    const auto column = std::find(table.sides.begin(), table.sides.end(), side);
    if (column == table.sides.end()) continue;
    for (const Sensitivity::Layer& row : table.layers) {
      const double loss = row.loss[static_cast<size_t>(column - table.sides.begin())].value;
      if (!(loss > 0)) continue;
      const WeightChange change{std::pair{row.layer, row.layer},
                                static_cast<LinearKind>(kind),
                                {.stored = false, .format = {WeightCodec::kInt8, 128}}};
      WeightScheme one = scheme;
      one.changes.push_back(change);
      candidates.push_back({change, loss, bytes_of_scheme(one, checkpoint, shape, backend) - whole});
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.loss * static_cast<double>(b.bytes) > b.loss * static_cast<double>(a.bytes);
  });
  auto left = static_cast<size_t>(share * static_cast<double>(whole));
  for (const Candidate& candidate : candidates) {
    if (candidate.bytes > left) continue;
    left -= candidate.bytes;
    scheme.changes.push_back(candidate.change);
  }
  std::sort(scheme.changes.begin(), scheme.changes.end(), [](const WeightChange& a, const WeightChange& b) {
    return std::pair{a.layers, a.kind} < std::pair{b.layers, b.kind};
  });
  return scheme;
}

}  // namespace kvpareto
