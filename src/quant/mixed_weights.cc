#include "quant/mixed_weights.h"

#include <algorithm>
#include <map>

namespace kvpareto {
namespace {

// Of equally many the first by its text.
WeightChoice most_common(std::span<const WeightChoice> choices) {
  std::map<std::string, size_t> counts;
  for (const WeightChoice& choice : choices) ++counts[to_text(choice)];
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return *std::find_if(choices.begin(), choices.end(),
                       [&](const WeightChoice& choice) { return to_text(choice) == most->first; });
}

// Of one kind: the runs of layers that differ from `usual`.
void add_runs(WeightScheme& scheme, LinearKind kind, std::span<const WeightChoice> layers, const WeightChoice& usual) {
  for (size_t first = 0, last = 0; first < layers.size(); first = last + 1) {
    for (last = first; last + 1 < layers.size() && layers[last + 1] == layers[first];) ++last;
    if (layers[first] == usual) continue;
    scheme.changes.push_back({std::pair{static_cast<int>(first), static_cast<int>(last)}, kind, layers[first]});
  }
}

}  // namespace

WeightScheme mixed_weights(std::span<const WeightChoice> places, const WeightChoice& table) {
  WeightScheme scheme;
  scheme.table = table;
  scheme.linears = most_common(places);
  std::vector<WeightChoice> kinds[kLinearKindCount];
  for (size_t place = 0; place < places.size(); ++place) kinds[place % kLinearKindCount].push_back(places[place]);
  WeightChoice usual[kLinearKindCount];
  for (size_t kind = 0; kind < kLinearKindCount; ++kind) {
    usual[kind] = most_common(kinds[kind]);
    if (usual[kind] == scheme.linears) continue;
    scheme.changes.push_back({std::nullopt, static_cast<LinearKind>(kind), usual[kind]});
  }
  for (size_t kind = 0; kind < kLinearKindCount; ++kind) {
    add_runs(scheme, static_cast<LinearKind>(kind), kinds[kind], usual[kind]);
  }
  return scheme;
}

}  // namespace kvpareto
