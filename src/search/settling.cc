#include "search/settling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/statistics.h"
#include "search/front.h"

namespace kvpareto {
namespace {

std::vector<Place> places_of(std::span<const Measurement> measurements) {
  std::vector<Place> places;
  for (const Measurement& m : measurements) places.push_back(place_of(&m));
  return places;
}

// Each text's divergence; empty if there is none.
std::span<const double> losses_of(const Measurement& m) {
  const auto found = m.texts.find("kld_mean");
  return found == m.texts.end() ? std::span<const double>() : found->second;
}

double mean_without(std::span<const double> values, size_t left_out) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += i == left_out ? 0 : values[i];
  return sum / static_cast<double>(values.size() - 1);
}

// The places if the text had not been there, as lossy on the whole as they are with it.
std::vector<Place> places_without(std::span<const Measurement> measurements, size_t text) {
  std::vector<Place> places = places_of(measurements);
  std::vector<double> logs;
  for (size_t i = 0; i < places.size(); ++i) {
    if (!std::isfinite(places[i].loss) || places[i].loss < kLossFloor) continue;
    const double loss = mean_without(losses_of(measurements[i]), text);
    if (loss <= 0) continue;
    logs.push_back(std::log(loss / places[i].loss));
    places[i].loss = loss;
  }
  const double alike = logs.empty() ? 1 : std::exp(mean(logs));
  for (Place& place : places) place.loss = place.loss < kLossFloor ? place.loss : place.loss / alike;
  return places;
}

}  // namespace

double front_error(std::span<const Measurement> measurements, const Bounds& box) {
  size_t texts = 0;
  for (const Measurement& m : measurements) {
    if (m.state != State::kDone) continue;
    if (texts == 0) texts = losses_of(m).size();
    if (texts < 2 || losses_of(m).size() != texts) return std::numeric_limits<double>::infinity();
  }
  if (texts < 2) return std::numeric_limits<double>::infinity();
  std::vector<double> without;
  for (size_t text = 0; text < texts; ++text) without.push_back(hypervolume(places_without(measurements, text), box));
  double squares = 0;
  for (const double v : without) squares += (v - mean(without)) * (v - mean(without));
  return std::sqrt(squares * static_cast<double>(texts - 1) / static_cast<double>(texts));
}

bool has_settled(std::span<const Measurement> measurements, const Bounds& box, size_t window) {
  if (measurements.size() < 2 * window) return false;
  const double error = front_error(measurements, box);
  if (!std::isfinite(error)) return false;
  const double now = hypervolume(places_of(measurements), box);
  return now - hypervolume(places_of(measurements.first(measurements.size() - window)), box) <= error;
}

}  // namespace kvpareto
