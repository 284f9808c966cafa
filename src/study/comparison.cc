#include "study/comparison.h"

#include <algorithm>
#include <cmath>

namespace kvpareto {
namespace {

struct Pair {
  std::string name;
  double difference;
};

// Values of single samples by name; texts have none, their place stands in.
std::map<std::string, double> named_values(const Measurement& m, const Figure& figure) {
  std::map<std::string, double> named;
  const auto values = m.texts.find(figure.name);
  if (values == m.texts.end()) return named;
  const auto names = m.samples.find(figure.task);
  const bool has_names = names != m.samples.end() && names->second.size() == values->second.size();
  if (!has_names && !figure.task.empty()) return named;
  for (size_t i = 0; i < values->second.size(); ++i) {
    named[has_names ? names->second[i] : std::to_string(i)] = values->second[i];
  }
  return named;
}

}  // namespace

std::optional<Comparison> compare(const Measurement& baseline, const Measurement& candidate, const Figure& figure) {
  const std::map<std::string, double> before = named_values(baseline, figure);
  std::vector<Pair> pairs;
  for (const auto& [name, value] : named_values(candidate, figure)) {
    const auto found = before.find(name);
    if (found != before.end() && std::isfinite(value - found->second)) pairs.push_back({name, value - found->second});
  }
  if (pairs.empty()) return std::nullopt;
  std::vector<double> differences;
  for (const Pair& pair : pairs) differences.push_back(pair.difference);
  Comparison result;
  result.difference = estimate(differences);
  result.interval = bootstrap_interval(differences);
  const double error = std::isnan(result.difference.standard_error) ? 0 : result.difference.standard_error;
  result.deviation = error * std::sqrt(static_cast<double>(differences.size()));
  const double worse = figure.better == Better::kMore ? -1 : 1;
  std::stable_sort(pairs.begin(), pairs.end(),
                   [&](const Pair& a, const Pair& b) { return worse * a.difference > worse * b.difference; });
  for (const Pair& pair : pairs) {
    if (worse * pair.difference > 0) result.regressions.push_back(pair.name);
    if (worse * pair.difference < 0) ++result.improved;
  }
  return result;
}

}  // namespace kvpareto
