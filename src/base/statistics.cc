#include "base/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace kvpareto {

double mean(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("mean of no values");
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

Estimate estimate(std::span<const double> values) {
  const double center = mean(values);
  const auto n = static_cast<double>(values.size());
  if (values.size() == 1) return {center, std::numeric_limits<double>::quiet_NaN(), 1};
  double squares = 0;
  for (const double v : values) squares += (v - center) * (v - center);
  return {center, std::sqrt(squares / (n - 1) / n), static_cast<int64_t>(values.size())};
}

Interval bootstrap_interval(std::span<const double> values) {
  constexpr int kDraws = 4000;
  if (values.empty()) throw std::invalid_argument("interval of no values");
  Random random(values.size());
  std::vector<double> means(kDraws);
  for (double& drawn : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[random.below(values.size())];
    drawn = sum / static_cast<double>(values.size());
  }
  return {quantile(means, 0.025), quantile(means, 0.975)};
}

int64_t samples_needed(double deviation, double difference) {
  constexpr double kBoth = 1.959964 + 0.841621;  // normal quantiles of 97.5 % and 80 %
  const double root = kBoth * deviation / difference;
  return std::max<int64_t>(2, static_cast<int64_t>(std::ceil(root * root)));
}

double quantile(std::span<const double> values, double q) {
  if (values.empty()) throw std::invalid_argument("quantile of no values");
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double place = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace kvpareto
