// The default: learns what every part of a point loses, and measures where that promises most.
//
//   1. Screening, as cheaply as can be (shortened texts, or the first one): every choice of every part once, beside the
//      most accurate of the others; and every layer alone at its fewest bits, where layers can differ. What
//      measurements in other regimes told already is left out.
//   2. Rounds: the model of quality.h is fitted to all measurements of the study. Of the candidates (candidates.h)
//   those
//      are measured that promise the greatest gain of hypervolume a cost, as expected under the guess and its error
//      (Emmerich, Deutz, Klinkenberg 2011), one after the other as if the ones before had turned out as guessed. What
//      was never measured is measured cheaply, and promises only what lies beyond the front that is expected of all
//      measured ones; what was is measured on more texts, and promises what lies beyond the front of the whole ones.
//      One trial of a round at least is such a one, if any promises anything: where a first text costs little, there
//      is always something new that promises more for it.
//      Asked for the best within some bytes, it takes less loss there for a gain too: close to where memory ends there
//      is no hypervolume left to gain.
//   3. It ends when no candidate promises a gain worth the name, or the budget is spent. Without a budget a gain within
//      the front's own error (settling.h) is none, and it ends too when the front has stopped to move by more than
//      that. Then the axes that are refined last are tried on the knee and its neighbours, cheaply first as well.
//
// It learns from every measurement, also from those of other spaces, limits and regimes. Deterministic: the same
// measurements and seed give the same proposals.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "search/candidates.h"
#include "search/front.h"
#include "search/quality.h"
#include "search/sampler.h"
#include "search/settling.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr size_t kRound = 6;  // trials of a round
// Where the best within so many bytes is asked for: what a fraction of the box less loss there is worth, as
// hypervolume. A twentieth of the loss less, in a box of seven powers of e, is worth a trial.
constexpr double kWorthOfBest = 0.1;
constexpr double kWorthwhile = 5e-4;  // gain of hypervolume, in whole boxes, below which a trial is not worth it
// A guess that is no wider than what a change of the regime leaves open needs no screening.
constexpr double kKnown = 0.85;
// In place of a cost: what is known goes first.
constexpr double kFree = 1e-9;
constexpr size_t kStill = 4;  // whole measurements that may pass without moving the front

class Guided : public Sampler {
 public:
  Guided(const Space& space, const SearchSettings& settings)
      : space_(space),
        settings_(settings),
        random_(settings.seed),
        quality_(space.describe, settings.texts),
        candidates_(space) {
    // Cheap trials show where the other baselines stand; they earn a whole one like any point.
    for (const Point& point : space.baselines) {
      const bool whole = screening_.empty() || settings.short_cost == 0;
      screening_.push_back({point, whole ? settings.texts : kShortened});
    }
    quality_.fit({}, settings.elsewhere);
    for (const Point& point : candidates_.screening(quality_)) {
      if (quality_.guess(point).deviation > kKnown) screening_.push_back({point, cheapest()});
    }
    expected_ = screening_.size() + 4 * kRound;
  }

  std::string name() const override { return "guided"; }
  size_t expected() const override { return expected_; }

  std::vector<Trial> propose(std::span<const Measurement> measurements) override {
    const Measured measured(measurements);
    std::vector<Trial> next = within_budget(ledger_.take(screening_, measured), measured);
    while (next.empty() && !spent_out_) {
      quality_.fit(measurements, settings_.elsewhere);
      if (settled_ && !refining_) refine(measured);
      next = within_budget(ledger_.take(round(pool(), measurements, measured), measured), measured);
      if (!next.empty()) break;
      if (refining_) break;
      settled_ = true;
    }
    proposed_ += next.size();
    expected_ = next.empty() ? proposed_ : std::max(expected_, proposed_ + kRound);
    return next;
  }

 private:
  int cheapest() const { return settings_.short_cost > 0 ? kShortened : 1; }

  // What may be measured next; what was screened too, though it may not be among a large space's candidates.
  std::vector<Candidate> pool() {
    if (refining_) return refinements_;
    std::vector<Candidate> all = candidates_.all(quality_, random_, choices_);
    std::set<std::string> known;
    for (const Candidate& candidate : all) known.insert(to_text(candidate.point));
    for (const Trial& trial : screening_) {
      if (known.insert(to_text(trial.point)).second) all.push_back({trial.point, {}, space_.bytes(trial.point)});
    }
    return all;
  }

  // What was paid for a point already, in whole measurements.
  double paid(const Measurement* m) const {
    return m == nullptr || m->regime.texts == kShortened
               ? 0
               : cost_of(std::min(m->regime.texts, settings_.texts), settings_);
  }

  std::vector<Trial> within_budget(std::vector<Trial> trials, const Measured& measured) {
    size_t kept = 0;
    for (; kept < trials.size(); ++kept) {
      const double cost = cost_of(trials[kept].texts, settings_) - paid(measured.find(trials[kept].point, kShortened));
      if (settings_.budget > 0 && spent_ + cost > settings_.budget + 1e-9) break;
      spent_ += cost;
    }
    if (kept < trials.size()) spent_out_ = true;
    trials.resize(kept);
    return trials;
  }

  struct Promise {
    const Candidate* candidate;
    Guess guess;
    int texts;    // of the trial that comes next
    double cost;  // till it is measured whole, or once, if it never was
    bool known;   // it was measured, if not whole
  };

  Promise promise_of(const Candidate& candidate, const Measured& measured) {
    Promise promise{&candidate, quality_.guess(candidate.point), cheapest(), cost_of(cheapest(), settings_), false};
    if (const Measurement* m = measured.find(candidate.point, kShortened)) {
      promise.known = true;
      promise.texts = m->regime.texts == kShortened ? 1 : settings_.texts;
      promise.cost = 1 - paid(m);
    }
    return promise;
  }

  std::vector<Trial> round(const std::vector<Candidate>& pool, std::span<const Measurement> measurements,
                           const Measured& measured) {
    std::vector<Measurement> whole;
    for (const Measurement& m : measurements) {
      if (m.regime.texts >= settings_.texts) whole.push_back(m);
    }
    std::vector<Place> sure, all;
    for (const Measurement& m : whole) sure.push_back(place_of(&m));
    all = sure;
    std::vector<Promise> promises;
    for (const Candidate& candidate : pool) {
      if (measured.find(candidate.point, settings_.texts) != nullptr || has_failed(candidate, measured)) continue;
      promises.push_back(promise_of(candidate, measured));
      all.push_back({candidate.bytes, std::exp(promises.back().guess.log_loss)});
    }
    const Bounds box = bounds_of(all);
    const bool bounded = settings_.budget > 0 || settings_.most_bytes > 0 || refining_;
    if (!bounded && has_settled(whole, box, kStill)) return {};
    const double worthwhile = bounded ? kWorthwhile : worthwhile_within(front_error(whole, box));
    Staircase of_whole(sure, box), of_known(sure, box);
    for (const Promise& promise : promises) {
      if (promise.known) of_known.add(promise.candidate->bytes, promise.guess.log_loss);
    }
    double least_loss = least_within(sure);
    std::vector<Trial> trials;
    std::set<const Candidate*> taken;
    bool confirmed = false;  // that something known is measured further in this round
    while (trials.size() < kRound) {
      const Promise* best = nullptr;
      double most = 0;
      const bool due = !confirmed && trials.size() + 1 == kRound;
      for (const Promise& promise : promises) {
        if (taken.contains(promise.candidate)) continue;
        const Staircase& stairs = promise.known ? of_whole : of_known;
        const double gain =
            std::max(expected_gain(stairs, promise.candidate->bytes, promise.guess),
                     kWorthOfBest * expected_fall(promise, least_loss) / (box.high_loss - box.low_loss + 1e-9));
        if (gain < worthwhile) continue;
        const double rate = gain / (due && promise.known ? kFree : promise.cost);
        if (rate <= most) continue;
        most = rate;
        best = &promise;
      }
      if (best == nullptr) break;
      taken.insert(best->candidate);
      confirmed |= best->known;
      of_known.add(best->candidate->bytes, best->guess.log_loss);
      if (is_within(best->candidate->bytes)) least_loss = std::min(least_loss, best->guess.log_loss);
      if (best->known) of_whole.add(best->candidate->bytes, best->guess.log_loss);
      trials.push_back({best->candidate->point, best->texts});
      if (!best->candidate->choices.empty()) {
        choices_[to_text(best->candidate->point)] = best->candidate->choices;
      }
    }
    return trials;
  }

  static double worthwhile_within(double error) {
    return std::isfinite(error) ? std::max(kWorthwhile, error) : kWorthwhile;
  }

  static bool has_failed(const Candidate& candidate, const Measured& measured) {
    const Measurement* m = measured.find(candidate.point, kShortened);
    return m != nullptr && m->state == State::kFailed;
  }

  // Over the guess's normal distribution, by its quantiles.
  static constexpr double kQuantiles[] = {-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534};
  static double expected_gain(const Staircase& stairs, double bytes, const Guess& guess) {
    double sum = 0;
    for (const double q : kQuantiles) sum += stairs.gain(bytes, guess.log_loss + q * guess.deviation);
    return sum / std::size(kQuantiles);
  }

  bool is_within(double bytes) const { return bytes <= settings_.most_bytes; }

  // The least logarithm of a loss that was measured whole within the bytes asked for; infinite if there is none.
  double least_within(std::span<const Place> places) const {
    double least = std::numeric_limits<double>::infinity();
    for (const Place& place : places) {
      if (is_within(place.cost)) least = std::min(least, log_loss(place.loss));
    }
    return least;
  }

  // By how much it is expected to come down through a candidate.
  double expected_fall(const Promise& promise, double least) const {
    if (!is_within(promise.candidate->bytes) || !std::isfinite(least)) return 0;
    double sum = 0;
    for (const double q : kQuantiles) {
      sum += std::max(0.0, least - (promise.guess.log_loss + q * promise.guess.deviation));
    }
    return sum / std::size(kQuantiles);
  }

  // Candidates from now on: the other choices of the axes that are refined last, on the knee and its neighbours.
  void refine(const Measured& measured) {
    refining_ = true;
    std::vector<Measurement> compared;
    std::vector<const Choices*> choices;
    for (const auto& [text, chosen] : choices_) {
      const Measurement* m = measured.find(parse_point(text), settings_.texts);
      if (m == nullptr) continue;
      compared.push_back(*m);
      choices.push_back(&chosen);
    }
    const Front front = find_front(compared);
    const auto knee = std::find(front.members.begin(), front.members.end(), front.knee);
    for (auto member = front.members.begin(); member != front.members.end(); ++member) {
      if (std::abs(member - knee) > 1) continue;
      for (const Point& point : refinements(space_, *choices[*member])) {
        refinements_.push_back({point, *choices[*member], space_.bytes(point)});
      }
    }
  }

  const Space space_;
  const SearchSettings settings_;
  Random random_;
  Quality quality_;
  const Candidates candidates_;
  bool settled_ = false, refining_ = false, spent_out_ = false;
  std::vector<Trial> screening_;
  std::vector<Candidate> refinements_;
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
