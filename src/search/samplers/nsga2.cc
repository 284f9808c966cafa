// NSGA-II (Deb, Pratap, Agarwal, Meyarivan 2002): a population that keeps its non-dominated and spread-out members;
// parents by tournament, children by uniform crossover, and a mutation of one axis on average. Every trial is on all
// texts.
//
// A generation looks at its own members alone, so that a search that was stopped goes through the same generations
// again (from memory) and on.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr size_t kPopulation = 24;
constexpr int kStill = 6;        // generations that move the front too little before it ends
constexpr double kMoved = 1e-3;  // of the hypervolume
constexpr int kPatience = 1000;  // draws that give nothing new before a generation stays small

class Nsga2 : public Sampler {
 public:
  Nsga2(const Space& space, const SearchSettings& settings)
      : space_(space), settings_(settings), random_(settings.seed) {
    for (const Point& point : space.baselines) {
      if (seen_.insert(to_text(point)).second) born_.push_back({point, {}, {}});
    }
    breed(std::min<size_t>(kPopulation, static_cast<size_t>(std::max(1.0, budget()))),
          [&] { return random_choices(space_, random_); });
    expected_ = born_.size();
  }

  std::string name() const override { return "nsga2"; }
  size_t expected() const override { return expected_; }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    while (!born_.empty()) {
      std::vector<Trial> wanted;
      for (const Member& member : born_) wanted.push_back({member.point, settings_.texts});
      if (std::vector<Trial> next = ledger_.take(wanted, measured); !next.empty()) return next;
      grow_up(measured);
      if (still_ >= kStill || spent() >= budget()) break;
      breed(std::min<size_t>(kPopulation, static_cast<size_t>(budget() - spent())), [&] { return child(); });
      expected_ += born_.size();
    }
    born_.clear();
    return {};
  }

 private:
  struct Member {
    Point point;
    Choices choices;  // empty for a baseline outside the axes: it has no children
    Place place;
    int rank = 0;
    double room = 0;
  };

  double budget() const { return settings_.budget > 0 ? settings_.budget : 1e9; }
  double spent() const { return static_cast<double>(seen_.size()); }

  template <typename Draw>
  void breed(size_t count, Draw draw) {
    for (int misses = 0; born_.size() < count && misses < kPatience;) {
      const Choices choices = draw();
      const Made made = space_.make(choices);
      const bool fresh = made.valid() && seen_.insert(to_text(made.point)).second;
      if (fresh) born_.push_back({made.point, choices, {}});
      misses = fresh ? 0 : misses + 1;
    }
  }

  // Those born are measured: who of all survives, and has the front moved?
  void grow_up(const Measured& measured) {
    for (Member& member : born_) member.place = place_of(measured.find(member.point, settings_.texts));
    std::vector<Place> before, after;
    for (const Member& member : alive_) before.push_back(member.place);
    alive_.insert(alive_.end(), born_.begin(), born_.end());
    born_.clear();
    for (const Member& member : alive_) after.push_back(member.place);
    const Bounds box = bounds_of(after);
    const double now = hypervolume(after, box);
    still_ = now - hypervolume(before, box) > kMoved * now ? 0 : still_ + 1;
    const std::vector<int> ranks = dominance_ranks(after);
    for (size_t i = 0; i < alive_.size(); ++i) alive_[i].rank = ranks[i];
    make_room(box);
    std::stable_sort(alive_.begin(), alive_.end(), better);
    if (alive_.size() > kPopulation) alive_.resize(kPopulation);
  }

  static bool better(const Member& a, const Member& b) { return a.rank != b.rank ? a.rank < b.rank : a.room > b.room; }

  // Crowding distance: how far the neighbours of one rank are, on both axes.
  void make_room(const Bounds& box) {
    std::vector<Member*> order;
    for (Member& member : alive_) order.push_back(&member);
    std::sort(order.begin(), order.end(), [](const Member* a, const Member* b) {
      return std::pair(a->rank, a->place.cost) < std::pair(b->rank, b->place.cost);
    });
    const auto y = [](const Member* m) { return std::log(std::max(m->place.loss, 1e-9)); };
    for (size_t i = 0; i < order.size(); ++i) {
      const bool first = i == 0 || order[i - 1]->rank != order[i]->rank;
      const bool last = i + 1 == order.size() || order[i + 1]->rank != order[i]->rank;
      order[i]->room = std::numeric_limits<double>::infinity();
      if (first || last) continue;
      order[i]->room =
          (order[i + 1]->place.cost - order[i - 1]->place.cost) / std::max(1.0, box.high_cost - box.low_cost) +
          (y(order[i - 1]) - y(order[i + 1])) / std::max(1e-9, box.high_loss - box.low_loss);
    }
  }

  const Member* parent() {
    const Member& a = alive_[random_.below(alive_.size())];
    const Member& b = alive_[random_.below(alive_.size())];
    return better(b, a) ? &b : &a;
  }

  Choices child() {
    const Choices mother = parent()->choices, father = parent()->choices;
    if (mother.empty() || father.empty()) return random_choices(space_, random_);
    Choices choices = mother;
    for (size_t axis = 0; axis < choices.size(); ++axis) {
      if (random_.below(2) == 1) choices[axis] = father[axis];
      if (random_.below(choices.size()) == 0) {
        choices[axis] = static_cast<int>(random_.below(space_.axes[axis].choices.size()));
      }
    }
    return choices;
  }

  const Space space_;
  const SearchSettings settings_;
  Random random_;
  std::vector<Member> alive_, born_;
  std::set<std::string> seen_;
  Ledger ledger_;
  int still_ = 0;
  size_t expected_;
};
}  // namespace

std::unique_ptr<Sampler> make_nsga2_sampler(const Space& space, const SearchSettings& settings) {
  return std::make_unique<Nsga2>(space, settings);
}

}  // namespace kvpareto
