// Every scheme once, then the prefill chunk where it matters.
//
// The chunk changes the working memory and, a little, what a token sees of the packed cache, but hardly which scheme is
// good: so all schemes are compared at the first chunk, and the other chunks are tried on at most four schemes of the
// front found there: the most accurate (the baseline, as a rule), the knee, and the knee's two neighbours, which is
// where a person chooses. A full grid would cost chunks times as much to tell the same.
//
// The choice looks at measurements at the first chunk alone, so that a search that was stopped goes on to the same
// points.

#include <algorithm>
#include <set>

#include "search/front.h"
#include "search/sampler.h"

namespace kvpareto {
namespace {

template <typename T>
std::vector<T> without_repeats(const std::vector<T>& list) {
  std::vector<T> once;
  for (const T& item : list) {
    if (std::find(once.begin(), once.end(), item) == once.end()) once.push_back(item);
  }
  return once;
}

class Grid : public Sampler {
 public:
  explicit Grid(const Space& space) : chunks_(without_repeats(space.chunks)) {
    // Weights outermost: loading them is slow, changing the KV scheme is free.
    for (const std::string& weights : without_repeats(space.weights)) {
      for (const std::string& kv : without_repeats(space.kv)) first_.push_back({weights, kv, chunks_.front()});
    }
    expected_ = first_.size() + std::min(first_.size(), kRefined) * (chunks_.size() - 1);
  }

  std::string name() const override { return "grid"; }
  size_t expected() const override { return expected_; }

  std::vector<Point> propose(std::span<const Measurement> measured) override {
    std::set<std::string> known = proposed_;
    for (const Measurement& m : measured) known.insert(to_text(m.point));
    std::vector<Point> next = unknown(first_, known);
    if (next.empty()) {
      const std::vector<Point> refined = other_chunks(best(measured));
      expected_ = first_.size() + refined.size();
      next = unknown(refined, known);
    }
    for (const Point& point : next) proposed_.insert(to_text(point));
    return next;
  }

 private:
  static constexpr size_t kRefined = 4;  // schemes whose other chunks are tried

  static std::vector<Point> unknown(const std::vector<Point>& points, const std::set<std::string>& known) {
    std::vector<Point> left;
    for (const Point& point : points) {
      if (!known.contains(to_text(point))) left.push_back(point);
    }
    return left;
  }

  // In the order of the grid.
  std::vector<Point> best(std::span<const Measurement> measured) const {
    std::vector<Measurement> compared;
    for (const Point& point : first_) {
      const auto found =
          std::find_if(measured.begin(), measured.end(), [&](const Measurement& m) { return m.point == point; });
      if (found != measured.end()) compared.push_back(*found);
    }
    const Front front = find_front(compared);
    if (front.members.empty()) return {};
    const auto knee = std::find(front.members.begin(), front.members.end(), front.knee);
    std::set<size_t> chosen = {front.members.back(), *knee};
    if (knee != front.members.begin()) chosen.insert(*(knee - 1));
    if (knee + 1 != front.members.end()) chosen.insert(*(knee + 1));
    std::vector<Point> points;
    for (const size_t index : chosen) points.push_back(compared[index].point);
    return points;
  }

  std::vector<Point> other_chunks(const std::vector<Point>& points) const {
    std::vector<Point> all;
    for (const Point& point : points) {
      for (size_t i = 1; i < chunks_.size(); ++i) all.push_back({point.weights, point.kv, chunks_[i]});
    }
    return all;
  }

  std::vector<int> chunks_;
  std::vector<Point> first_;        // all schemes at the first chunk
  std::set<std::string> proposed_;  // never twice, even if the caller gave up on a point without a record
  size_t expected_;
};
}  // namespace

std::unique_ptr<Sampler> make_grid_sampler(const Space& space, uint64_t) { return std::make_unique<Grid>(space); }

}  // namespace kvpareto
