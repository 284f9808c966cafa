#include "search/front.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

// Places of one measurement on the two axes of the trade, smaller is better.
struct Place {
  size_t index;  // into the measurements
  double cost, loss;
};

// The sign that makes smaller values of a figure the better ones.
double direction(const std::string& name) {
  const Figure* figure = find_figure(name);
  if (figure != nullptr && figure->better != Better::kNeither) return figure->better == Better::kMore ? -1 : 1;
  std::vector<std::string> names;
  for (const Figure& f : figures()) {
    if (f.better != Better::kNeither) names.push_back(f.name);
  }
  fail_usage("objective '{}': wanted a figure that is better when less or more; the nearest is {}", name,
             nearest(name, names));
}

std::vector<Place> comparable(std::span<const Measurement> measurements, const Objectives& objectives) {
  const double cost_sign = direction(objectives.cost), loss_sign = direction(objectives.loss);
  std::vector<Place> places;
  for (size_t i = 0; i < measurements.size(); ++i) {
    if (measurements[i].state != State::kDone) continue;
    const double cost = cost_sign * measurements[i].value(objectives.cost);
    const double loss = loss_sign * measurements[i].value(objectives.loss);
    if (std::isfinite(cost) && std::isfinite(loss)) places.push_back({i, cost, loss});
  }
  return places;
}

// Sweeps from the cheapest; whoever loses strictly less than everyone cheaper is on the front (Kung, Luccio, Preparata
// 1975, for two objectives).
std::vector<Place> non_dominated(std::vector<Place> places) {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.cost, a.loss, a.index) < std::tie(b.cost, b.loss, b.index);
  });
  std::vector<Place> front;
  for (const Place& place : places) {
    if (front.empty() || place.loss < front.back().loss) front.push_back(place);
  }
  return front;
}

// From a figure to [0,1] between two places.
struct Scale {
  Scale(double from, double to) : begin(from), width(to - from) {}
  double operator()(double x) const { return width > 0 ? (x - begin) / width : 0; }
  double begin, width;
};

bool logarithmic(const std::vector<Place>& places) {
  return std::all_of(places.begin(), places.end(), [](const Place& p) { return p.loss >= -kLossFloor; });
}

// Ties go to the more accurate member: of two ends and nothing between them, the safe one is recommended.
size_t find_knee(const std::vector<Place>& front) {
  const Scale cost(front.front().cost, front.back().cost), loss(front.back().loss, front.front().loss);
  size_t knee = 0;
  double deepest = -1;
  for (const Place& place : front) {
    const double below = 1 - cost(place.cost) - loss(place.loss);
    if (below < deepest) continue;
    deepest = below;
    knee = place.index;
  }
  return knee;
}

double dominated_fraction(const std::vector<Place>& places, const std::vector<Place>& front) {
  const auto by_cost = [](const Place& a, const Place& b) { return a.cost < b.cost; };
  const auto by_loss = [](const Place& a, const Place& b) { return a.loss < b.loss; };
  const auto [cheapest, dearest] = std::minmax_element(places.begin(), places.end(), by_cost);
  const auto [best, worst] = std::minmax_element(places.begin(), places.end(), by_loss);
  const Scale cost(cheapest->cost, dearest->cost), loss(best->loss, worst->loss);
  double area = 0;
  for (size_t i = 0; i < front.size(); ++i) {
    const double until = i + 1 < front.size() ? cost(front[i + 1].cost) : 1;
    area += (until - cost(front[i].cost)) * (1 - loss(front[i].loss));
  }
  return area;
}
}  // namespace

Front find_front(std::span<const Measurement> measurements, const Objectives& objectives) {
  Front result;
  result.dominated.assign(measurements.size(), true);
  std::vector<Place> places = comparable(measurements, objectives);
  if (places.empty()) return result;
  std::vector<Place> front = non_dominated(places);
  for (const Place& place : front) {
    result.members.push_back(place.index);
    result.dominated[place.index] = false;
  }
  if (logarithmic(places)) {
    for (Place& place : places) place.loss = std::log(std::max(place.loss, kLossFloor));
    for (Place& place : front) place.loss = std::log(std::max(place.loss, kLossFloor));
  }
  result.knee = find_knee(front);
  result.hypervolume = dominated_fraction(places, front);
  return result;
}

}  // namespace kvpareto
