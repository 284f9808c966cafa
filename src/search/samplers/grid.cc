// Every point once, but for the axes that are refined last (the prefill chunk).
//
// The chunk changes the working memory and, a little, what a token sees of the packed cache, but hardly which scheme is
// good: so all others are compared at its first choice, and its other choices are tried on at most four points of the
// front found there: the most accurate (the baseline, as a rule), the knee, and the knee's two neighbours, which is
// where a person chooses. A full grid would cost chunks times as much to tell the same.
//
// The choice looks at measurements at the first choice alone, so that a search that was stopped goes on to the same
// points.

#include <algorithm>
#include <set>

#include "base/error.h"
#include "search/front.h"
#include "search/sampler.h"

namespace kvpareto {
namespace {

constexpr size_t kRefined = 4;     // points whose other choices are tried
constexpr size_t kMost = 100'000;  // more would take weeks

class Grid : public Sampler {
 public:
  Grid(const Space& space, const SearchSettings& settings) : space_(space), texts_(settings.texts) {
    const size_t size = countable_size(space);
    if (size > kMost) {
      fail_usage("sampler grid: wanted a space of at most {} points, found one of 10^{:.0f}; the nearest is guided",
                 kMost, log10_size(space));
    }
    std::set<std::string> known;
    for (const Point& point : space.baselines) {
      if (known.insert(to_text(point)).second) first_.push_back({point, {}});
    }
    for (size_t index = 0; index < size; ++index) {
      const Choices choices = choices_at(space, index);
      if (refines(choices)) continue;
      const Made made = space.make(choices);
      if (!made.valid()) continue;
      const auto same = [&](const Place& place) { return place.point == made.point; };
      if (known.insert(to_text(made.point)).second) {
        first_.push_back({made.point, choices});
      } else if (const auto found = std::find_if(first_.begin(), first_.end(), same); found != first_.end()) {
        found->choices = choices;
      }
    }
    size_t others = 1;
    for (const Axis& axis : space.axes) others += axis.refined_last ? axis.choices.size() - 1 : 0;
    expected_ = first_.size() + std::min(first_.size(), kRefined) * (others - 1);
  }

  std::string name() const override { return "grid"; }
  size_t expected() const override { return expected_; }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    std::vector<Trial> all;
    for (const Place& place : first_) all.push_back({place.point, texts_});
    std::vector<Trial> next = ledger_.take(all, measured);
    if (!next.empty()) return next;
    const std::vector<Trial> refined = others_of_best(measured);
    expected_ = first_.size() + refined.size();
    return ledger_.take(refined, measured);
  }

 private:
  struct Place {
    Point point;
    Choices choices;  // empty for a baseline outside the axes
  };

  bool refines(const Choices& choices) const {
    for (size_t axis = 0; axis < choices.size(); ++axis) {
      if (space_.axes[axis].refined_last && choices[axis] > 0) return true;
    }
    return false;
  }

  // In the order of the grid.
  std::vector<Trial> others_of_best(const Measured& measured) const {
    std::vector<Measurement> compared;
    std::vector<const Place*> places;
    for (const Place& place : first_) {
      const Measurement* m = measured.find(place.point, texts_);
      if (m == nullptr || place.choices.empty()) continue;
      compared.push_back(*m);
      places.push_back(&place);
    }
    const Front front = find_front(compared);
    if (front.members.empty()) return {};
    const auto knee = std::find(front.members.begin(), front.members.end(), front.knee);
    std::set<size_t> chosen = {front.members.back(), *knee};
    if (knee != front.members.begin()) chosen.insert(*(knee - 1));
    if (knee + 1 != front.members.end()) chosen.insert(*(knee + 1));
    std::vector<Trial> trials;
    for (const size_t index : chosen) {
      for (const Point& point : refinements(space_, places[index]->choices)) trials.push_back({point, texts_});
    }
    return trials;
  }

  const Space space_;
  int texts_;
  std::vector<Place> first_;  // everything at the first choice of what is refined last
  Ledger ledger_;
  size_t expected_;
};
}  // namespace

std::unique_ptr<Sampler> make_grid_sampler(const Space& space, const SearchSettings& settings) {
  return std::make_unique<Grid>(space, settings);
}

}  // namespace kvpareto
