#include "search/confidence.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "search/front.h"

namespace kvpareto {
namespace {

constexpr int kDraws = 400;

const std::vector<double>* texts_of(const Measurement& m) {
  const auto found = m.texts.find("kld_mean");
  return m.state != State::kDone || found == m.texts.end() || !std::isfinite(m.value("peak_bytes")) ? nullptr
                                                                                                    : &found->second;
}

size_t usual_count(std::span<const Measurement> measurements) {
  std::map<size_t, int> counts;
  for (const Measurement& m : measurements) {
    if (const auto* texts = texts_of(m)) ++counts[texts->size()];
  }
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return most == counts.end() ? 0 : most->first;
}

Range95 range(std::vector<double> values) { return {quantile(values, 0.025), quantile(values, 0.975)}; }

}  // namespace

FrontConfidence front_confidence(std::span<const Measurement> measurements, uint64_t seed) {
  FrontConfidence result;
  result.on_front.assign(measurements.size(), 0);
  const size_t count = usual_count(measurements);
  // Drawn points are whole measurements, so that front, knee and hypervolume are those of front.h.
  std::vector<Measurement> drawn;
  std::vector<size_t> from;
  for (size_t i = 0; i < measurements.size(); ++i) {
    const auto* texts = texts_of(measurements[i]);
    if (texts == nullptr || texts->size() != count) continue;
    Measurement m;
    m.values = {{"peak_bytes", measurements[i].values.at("peak_bytes")},
                {"kld_mean", measurements[i].values.at("kld_mean")}};
    drawn.push_back(std::move(m));
    from.push_back(i);
  }
  if (drawn.empty()) return result;
  result.texts = static_cast<int>(count);
  const Front front = find_front(drawn);
  const auto count_members = [&](const Front& f) {
    for (const size_t member : f.members) ++result.on_front[from[member]];
  };
  if (count < 2) {
    count_members(front);
    result.hypervolume = {front.hypervolume, front.hypervolume};
    const Measurement& knee = drawn[front.knee];
    result.knee_cost = {knee.value("peak_bytes"), knee.value("peak_bytes")};
    result.knee_loss = {knee.value("kld_mean"), knee.value("kld_mean")};
    result.knee_share = 1;
    return result;
  }
  Random random(seed);
  std::vector<double> volumes, costs, losses;
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<size_t> chosen;
    for (size_t i = 0; i < count; ++i) chosen.push_back(random.below(count));
    for (size_t i = 0; i < drawn.size(); ++i) {
      const std::vector<double>& texts = measurements[from[i]].texts.at("kld_mean");
      double sum = 0;
      for (const size_t text : chosen) sum += texts[text];
      drawn[i].values["kld_mean"].value = sum / static_cast<double>(count);
    }
    const Front again = find_front(drawn);
    count_members(again);
    volumes.push_back(again.hypervolume);
    costs.push_back(drawn[again.knee].value("peak_bytes"));
    losses.push_back(drawn[again.knee].value("kld_mean"));
    result.knee_share += again.knee == front.knee;
  }
  for (double& count_of : result.on_front) count_of /= kDraws;
  result.knee_share /= kDraws;
  result.hypervolume = range(volumes);
  result.knee_cost = range(costs);
  result.knee_loss = range(losses);
  return result;
}

double errors_apart(const Measurement& a, const Measurement& b) {
  const double difference = b.value("kld_mean") - a.value("kld_mean");
  const auto *of_a = texts_of(a), *of_b = texts_of(b);
  const double none = difference == 0 ? 0 : std::copysign(std::numeric_limits<double>::infinity(), difference);
  if (of_a == nullptr || of_b == nullptr || of_a->size() != of_b->size() || of_a->size() < 2) return none;
  std::vector<double> differences;
  for (size_t i = 0; i < of_a->size(); ++i) differences.push_back((*of_b)[i] - (*of_a)[i]);
  const Estimate paired = estimate(differences);
  return paired.standard_error > 0 ? paired.value / paired.standard_error : none;
}

Range95 loss_interval(const Measurement& m) {
  const auto found = m.values.find("kld_mean");
  if (found == m.values.end()) return {};
  const double error = std::isfinite(found->second.standard_error) ? found->second.standard_error : 0;
  return {found->second.value - kBeyondError * error, found->second.value + kBeyondError * error};
}

}  // namespace kvpareto
