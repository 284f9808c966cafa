// Successive halving over texts (Jamieson and Talwalkar 2016) for two objectives: many points on one text, the better
// half of them on two, and so on until few are left on all. Better is a lower rank of dominance (Deb et al. 2002),
// among equals the one in the emptier place.
//
// What a rung measured decides the next one, and nothing else: a search that was stopped goes on to the same points.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "search/front.h"
#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr double kUsual = 64;      // whole measurements where no budget is set
constexpr int kPatience = 10'000;  // draws that give nothing new before it stops drawing

// Indices, best first.
std::vector<size_t> ranked(const std::vector<Place>& places) {
  const std::vector<int> ranks = dominance_ranks(places);
  std::vector<size_t> order(places.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> room(places.size(), std::numeric_limits<double>::infinity());
  const Bounds box = bounds_of(places);
  const auto x = [&](size_t i) {
    return (places[i].cost - box.low_cost) / std::max(1.0, box.high_cost - box.low_cost);
  };
  // Room: the distance in cost between the neighbours of one rank; ends have no limit.
  for (int rank = 0; rank <= *std::max_element(ranks.begin(), ranks.end()) && rank < static_cast<int>(places.size());
       ++rank) {
    std::vector<size_t> members;
    for (size_t i = 0; i < places.size(); ++i) {
      if (ranks[i] == rank) members.push_back(i);
    }
    std::sort(members.begin(), members.end(), [&](size_t a, size_t b) { return places[a].cost < places[b].cost; });
    for (size_t i = 1; i + 1 < members.size(); ++i) room[members[i]] = x(members[i + 1]) - x(members[i - 1]);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return ranks[a] != ranks[b] ? ranks[a] < ranks[b] : room[a] > room[b]; });
  return order;
}

class Halving : public Sampler {
 public:
  Halving(const Space& space, const SearchSettings& settings) : texts_(settings.texts) {
    const double budget = settings.budget > 0 ? settings.budget : kUsual;
    const double rungs = std::floor(std::log2(texts_)) + 1;
    // Every rung costs as much: twice the texts, half the points.
    const auto first = static_cast<size_t>(std::max(1.0, budget * texts_ / rungs));
    Random random(settings.seed);
    std::set<std::string> seen;
    for (const Point& point : space.baselines) {
      if (seen.insert(to_text(point)).second) always_.push_back(point);
    }
    for (int misses = 0; misses < kPatience && drawn_.size() < first;) {
      const Made made = space.make(random_choices(space, random));
      const bool fresh = made.valid() && seen.insert(to_text(made.point)).second;
      if (fresh) drawn_.push_back(made.point);
      misses = fresh ? 0 : misses + 1;
    }
    expected_ = always_.size();
    size_t left = drawn_.size();
    for (int texts = first_texts(); left > 0; texts = next(texts), left /= 2) {
      expected_ += left;
      if (texts == texts_) break;
    }
  }

  std::string name() const override { return "halving"; }
  size_t expected() const override { return expected_; }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    std::vector<Trial> wanted;
    for (const Point& point : always_) wanted.push_back({point, texts_});
    std::vector<Point> left = drawn_;
    size_t trials = always_.size();
    for (int texts = first_texts();; texts = next(texts)) {
      for (const Point& point : left) wanted.push_back({point, texts});
      trials += left.size();
      if (std::vector<Trial> found = ledger_.take(wanted, measured); !found.empty()) return found;
      if (texts == texts_ || left.size() < 2) break;
      std::vector<Place> places;
      for (const Point& point : left) places.push_back(place_on(texts, measurements, point));
      std::vector<Point> best;
      for (const size_t i : ranked(places)) {
        if (best.size() < left.size() / 2) best.push_back(left[i]);
      }
      left = std::move(best);
      wanted.clear();
    }
    expected_ = trials;
    return {};
  }

 private:
  int first_texts() const { return 1; }
  int next(int texts) const { return std::min(2 * texts, texts_); }

  // On exactly so many texts if there is such a measurement, so that rungs look alike whenever they are looked at.
  static Place place_on(int texts, std::span<const Measurement> measurements, const Point& point) {
    const Measurement* best = nullptr;
    for (const Measurement& m : measurements) {
      if (m.point != point || m.regime.texts < texts) continue;
      if (best == nullptr || m.regime.texts < best->regime.texts) best = &m;
    }
    return place_of(best);
  }

  int texts_;
  std::vector<Point> always_, drawn_;
  Ledger ledger_;
  size_t expected_ = 0;
};
}  // namespace

std::unique_ptr<Sampler> make_halving_sampler(const Space& space, const SearchSettings& settings) {
  return std::make_unique<Halving>(space, settings);
}

}  // namespace kvpareto
