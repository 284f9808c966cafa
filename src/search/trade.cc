#include "search/trade.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/front.h"

namespace kvpareto {
namespace {

bool finite(const Place& place) { return std::isfinite(place.cost) && std::isfinite(place.loss); }

std::vector<size_t> by_cost(std::span<const Place> places) {
  std::vector<size_t> order;
  for (size_t i = 0; i < places.size(); ++i) {
    if (finite(places[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(places[a].cost, places[a].loss) < std::pair(places[b].cost, places[b].loss);
  });
  return order;
}

}  // namespace

double log_loss(double loss) { return std::log(std::max(loss, kLossFloor)); }

Place place_of(const Measurement* m) {
  if (m == nullptr || m->state != State::kDone) return {};
  const Place place{m->value("peak_bytes"), m->value("kld_mean")};
  return finite(place) ? place : Place{};
}

std::vector<size_t> non_dominated(std::span<const Place> places) {
  std::vector<size_t> front;
  for (const size_t i : by_cost(places)) {
    if (front.empty() || places[i].loss < places[front.back()].loss) front.push_back(i);
  }
  return front;
}

std::vector<int> dominance_ranks(std::span<const Place> places) {
  std::vector<int> ranks(places.size(), std::numeric_limits<int>::max());
  std::vector<size_t> left = by_cost(places);
  for (int rank = 0; !left.empty(); ++rank) {
    std::vector<size_t> rest;
    double best = std::numeric_limits<double>::infinity();
    for (const size_t i : left) {
      if (places[i].loss < best) {
        best = places[i].loss;
        ranks[i] = rank;
      } else {
        rest.push_back(i);
      }
    }
    left = std::move(rest);
  }
  return ranks;
}

Bounds bounds_of(std::span<const Place> places) {
  Bounds box;
  bool first = true;
  for (const Place& place : places) {
    if (!finite(place)) continue;
    const double loss = log_loss(place.loss);
    if (first) box = {place.cost, place.cost, loss, loss};
    first = false;
    box.low_cost = std::min(box.low_cost, place.cost);
    box.high_cost = std::max(box.high_cost, place.cost);
    box.low_loss = std::min(box.low_loss, loss);
    box.high_loss = std::max(box.high_loss, loss);
  }
  return box;
}

double hypervolume(std::span<const Place> places, const Bounds& box) {
  Staircase stairs({}, box);
  double sum = 0;
  for (const size_t i : non_dominated(places)) {
    sum += stairs.gain(places[i].cost, log_loss(places[i].loss));
    stairs.add(places[i].cost, log_loss(places[i].loss));
  }
  return sum;
}

Staircase::Staircase(std::span<const Place> places, const Bounds& box) : box_(box) {
  for (const size_t i : non_dominated(places)) add(places[i].cost, log_loss(places[i].loss));
}

Staircase::Step Staircase::step(double cost, double loss) const {
  const auto scaled = [](double value, double low, double high) {
    return high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0.0;
  };
  return {scaled(cost, box_.low_cost, box_.high_cost), scaled(loss, box_.low_loss, box_.high_loss)};
}

double Staircase::gain(double cost, double loss) const {
  const Step own = step(cost, loss);
  // The height of the stairs at own.x is that of the last step before it.
  auto next = std::upper_bound(steps_.begin(), steps_.end(), own.x, [](double x, const Step& s) { return x < s.x; });
  double height = next == steps_.begin() ? 1 : (next - 1)->y, from = own.x, sum = 0;
  while (height > own.y && from < 1) {
    const double until = next == steps_.end() ? 1 : next->x;
    sum += (until - from) * (height - own.y);
    if (next == steps_.end()) break;
    from = until;
    height = next->y;
    ++next;
  }
  return sum;
}

void Staircase::add(double cost, double loss) {
  const Step own = step(cost, loss);
  auto place = std::upper_bound(steps_.begin(), steps_.end(), own.x, [](double x, const Step& s) { return x < s.x; });
  if (place != steps_.begin() && (place - 1)->y <= own.y) return;
  if (place != steps_.begin() && (place - 1)->x == own.x) place = steps_.erase(place - 1);
  auto end = place;
  while (end != steps_.end() && end->y >= own.y) ++end;
  place = steps_.erase(place, end);
  steps_.insert(place, own);
}

}  // namespace kvpareto
