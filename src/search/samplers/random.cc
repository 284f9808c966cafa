// Points drawn alike from the whole space, on all texts: what every other sampler must beat (Bergstra and Bengio 2012).

#include <algorithm>
#include <set>

#include "search/sampler.h"

namespace kvpareto {
namespace {

constexpr size_t kUsual = 200;     // points where no budget is set
constexpr size_t kBatch = 8;       // proposed at once
constexpr int kPatience = 10'000;  // draws that give nothing new before it ends

class RandomSampler : public Sampler {
 public:
  RandomSampler(const Space& space, const SearchSettings& settings) : texts_(settings.texts) {
    const size_t wanted = settings.budget > 0 ? static_cast<size_t>(settings.budget) : kUsual;
    Random random(settings.seed);
    std::set<std::string> seen;
    const auto add = [&](const Point& point) {
      const bool fresh = seen.insert(to_text(point)).second;
      if (fresh) trials_.push_back({point, texts_});
      return fresh;
    };
    for (const Point& point : space.baselines) add(point);
    for (int misses = 0; misses < kPatience && trials_.size() < wanted;) {
      const Made made = space.make(random_choices(space, random));
      misses = made.valid() && add(made.point) ? 0 : misses + 1;
    }
  }

  std::string name() const override { return "random"; }
  size_t expected() const override { return trials_.size(); }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    std::vector<Trial> next;
    for (; next_ < trials_.size() && next.size() < kBatch; ++next_) {
      if (measured.find(trials_[next_].point, texts_) == nullptr) next.push_back(trials_[next_]);
    }
    return next;
  }

 private:
  int texts_;
  std::vector<Trial> trials_;  // all of them, in the order of drawing
  size_t next_ = 0;            // the first that was not proposed
};
}  // namespace

std::unique_ptr<Sampler> make_random_sampler(const Space& space, const SearchSettings& settings) {
  return std::make_unique<RandomSampler>(space, settings);
}

}  // namespace kvpareto
