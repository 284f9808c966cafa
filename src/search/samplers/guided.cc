// The default: learns what every part of a point loses, and measures where that promises most.
//
//   1. Screening, on one text: every choice of every part once, beside the most accurate of the others; and every layer
//      alone at its fewest bits, where layers can differ.
//   2. Rounds: the model of quality.h is fitted to all measurements of the study. Of the candidates (candidates.h) those
//      are measured on all texts that promise the greatest gain of hypervolume, as expected under the guess and its
//      error (Emmerich, Deutz, Klinkenberg 2011), one after the other as if the ones before had turned out as guessed.
//   3. It ends when no candidate promises a gain worth the name, or the budget is spent; then the axes that are refined
//      last are tried on the knee and its neighbours.
//
// It learns from every measurement, also from those of other spaces and limits. Deterministic: the same measurements
// and seed give the same proposals.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "search/candidates.h"
#include "search/front.h"
#include "search/quality.h"
#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr size_t kRound = 6;          // trials of a round
constexpr double kWorthwhile = 5e-4;  // gain of hypervolume, in whole boxes, below which a trial is not worth it

class Guided : public Sampler {
 public:
  Guided(const Space& space, const SearchSettings& settings)
      : space_(space),
        settings_(settings),
        random_(settings.seed),
        quality_(space.describe, settings.texts),
        candidates_(space) {
    for (const Point& point : space.baselines) screening_.push_back({point, settings.texts});
    for (const Point& point : candidates_.screening(quality_)) screening_.push_back({point, 1});
    expected_ = screening_.size() + 4 * kRound;
  }

  std::string name() const override { return "guided"; }
  size_t expected() const override { return expected_; }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    std::vector<Trial> next = within_budget(ledger_.take(screening_, measured));
    while (next.empty() && !settled_) {
      quality_.fit(measurements);
      next = within_budget(ledger_.take(round(measurements, measured), measured));
      if (next.empty()) settled_ = true;
    }
    if (next.empty()) next = within_budget(ledger_.take(refined(measured), measured));
    proposed_ += next.size();
    expected_ = next.empty() ? proposed_ : std::max(expected_, proposed_ + kRound);
    return next;
  }

 private:
  double cost(const Trial& trial) const { return static_cast<double>(trial.texts) / settings_.texts; }

  std::vector<Trial> within_budget(std::vector<Trial> trials) {
    size_t kept = 0;
    for (; kept < trials.size(); ++kept) {
      if (settings_.budget > 0 && spent_ + cost(trials[kept]) > settings_.budget + 1e-9) break;
      spent_ += cost(trials[kept]);
    }
    if (kept < trials.size()) settled_ = true;
    trials.resize(kept);
    return trials;
  }

  std::vector<Trial> round(std::span<const Measurement> measurements, const Measured& measured) {
    std::vector<Place> whole;
    for (const Measurement& m : measurements) {
      if (m.regime.texts >= settings_.texts) whole.push_back(place_of(&m));
    }
    struct Promise {
      const Candidate* candidate;
      Guess guess;
    };
    std::vector<Promise> promises;
    const std::vector<Candidate> pool = candidates_.all(quality_, random_, choices_);
    std::vector<Place> all = whole;
    for (const Candidate& candidate : pool) {
      if (measured.find(candidate.point, settings_.texts) != nullptr) continue;
      promises.push_back({&candidate, quality_.guess(candidate.point)});
      all.push_back({candidate.bytes, std::exp(promises.back().guess.log_loss)});
    }
    Staircase stairs(whole, bounds_of(all));
    std::vector<Trial> trials;
    std::set<const Candidate*> taken;
    while (trials.size() < kRound) {
      const Promise* best = nullptr;
      double most = kWorthwhile;
      for (const Promise& promise : promises) {
        if (taken.contains(promise.candidate)) continue;
        const double gain = expected_gain(stairs, promise.candidate->bytes, promise.guess);
        if (gain <= most) continue;
        most = gain;
        best = &promise;
      }
      if (best == nullptr) break;
      taken.insert(best->candidate);
      stairs.add(best->candidate->bytes, best->guess.log_loss);
      trials.push_back({best->candidate->point, settings_.texts});
      choices_[to_text(best->candidate->point)] = best->candidate->choices;
    }
    return trials;
  }

  // Over the guess's normal distribution, by its quantiles.
  static double expected_gain(const Staircase& stairs, double bytes, const Guess& guess) {
    static constexpr double kQuantiles[] = {-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534};
    double sum = 0;
    for (const double q : kQuantiles) sum += stairs.gain(bytes, guess.log_loss + q * guess.deviation);
    return sum / std::size(kQuantiles);
  }

  // The other choices of the axes that are refined last, on the knee and its neighbours.
  std::vector<Trial> refined(const Measured& measured) {
    std::vector<Measurement> compared;
    std::vector<const Choices*> choices;
    for (const auto& [text, chosen] : choices_) {
      const Measurement* m = measured.find(parse_point(text), settings_.texts);
      if (m == nullptr) continue;
      compared.push_back(*m);
      choices.push_back(&chosen);
    }
    const Front front = find_front(compared);
    std::vector<Trial> trials;
    const auto knee = std::find(front.members.begin(), front.members.end(), front.knee);
    for (auto member = front.members.begin(); member != front.members.end(); ++member) {
      if (std::abs(member - knee) > 1) continue;
      for (const Point& point : refinements(space_, *choices[*member])) trials.push_back({point, settings_.texts});
    }
    return trials;
  }

  const Space space_;
  const SearchSettings settings_;
  Random random_;
  Quality quality_;
  const Candidates candidates_;
  bool settled_ = false;
  std::vector<Trial> screening_;
  std::map<std::string, Choices> choices_;  // of the points that rounds proposed
  Ledger ledger_;
  double spent_ = 0;
  size_t proposed_ = 0, expected_ = 0;
};

}  // namespace

std::unique_ptr<Sampler> make_guided_sampler(const Space& space, const SearchSettings& settings) {
  return std::make_unique<Guided>(space, settings);
}

}  // namespace kvpareto
