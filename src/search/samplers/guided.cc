// The default: learns what every part of a point loses, and measures where that promises most.
//
//   1. Screening, on one text: every choice of every part once, beside the most accurate of the others; and every layer
//   alone
//      at its fewest bits, where layers can differ.
//   2. Rounds: the model of quality.h is fitted to all measurements of the study; of the candidates (all points of a
//   small
//      space; of a large one the best allocations of bytes over the axes by allocation.h, under the model and under
//      draws from its posterior, and the neighbours of what is on the front) those are measured on all texts that
//      promise the greatest gain of hypervolume, as expected under the guess and its error (Emmerich, Deutz,
//      Klinkenberg 2011), one after the other as if the ones before had turned out as guessed.
//   3. It ends when no candidate promises a gain worth the name, or the budget is spent; then the axes that are refined
//      last are tried on the knee and its neighbours.
//
// It learns from every measurement, also from those of other spaces and limits. Deterministic: the same measurements
// and seed give the same proposals.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "search/allocation.h"
#include "search/front.h"
#include "search/quality.h"
#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr size_t kWalkable = 20'000;  // spaces up to this size are candidates as a whole
constexpr size_t kRound = 6;          // trials of a round
constexpr double kWorthwhile = 5e-4;  // gain of hypervolume, in whole boxes, below which a trial is not worth it
constexpr size_t kCells = 3000;       // of the bytes of an allocation
constexpr size_t kAllocations = 150;  // candidates of one dynamic programme
constexpr int kDraws = 4;             // dynamic programmes under draws from the posterior, beside that of the mean

struct Candidate {
  Point point;
  Choices choices;
  double bytes;
};

class Guided : public Sampler {
 public:
  Guided(const Space& space, const SearchSettings& settings)
      : space_(space), settings_(settings), random_(settings.seed), quality_(space.describe, settings.texts) {
    walkable_ = countable_size(space) <= kWalkable;
    if (walkable_) walk();
    screening_ = screening();
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

  bool add(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices) {
    const Made made = space_.make(choices);
    if (!made.valid() || !seen.insert(to_text(made.point)).second) return false;
    list.push_back({made.point, choices, space_.bytes(made.point)});
    return true;
  }

  bool at_first_of_refined(const Choices& choices) const {
    for (size_t axis = 0; axis < choices.size(); ++axis) {
      if (space_.axes[axis].refined_last && choices[axis] > 0) return false;
    }
    return true;
  }

  void walk() {
    std::set<std::string> seen;
    for (size_t index = 0; index < countable_size(space_); ++index) {
      const Choices choices = choices_at(space_, index);
      if (at_first_of_refined(choices)) add(walked_, seen, choices);
    }
  }

  // --- Screening
  // ------------------------------------------------------------------------------------------------------

  // The parts that a trial tells of: those choices of which no other part is louder, as far as priors know.
  std::vector<Trial> screening() {
    std::vector<Trial> trials;
    for (const Point& point : space_.baselines) trials.push_back({point, settings_.texts});
    std::vector<Candidate> pool = walked_;
    if (!walkable_) pool = singles();
    // What each candidate tells of, and how loud the other parts are in it.
    struct Voice {
      size_t candidate;
      double purity;  // share of the guessed loss
    };
    std::map<std::string, Voice> best;
    const auto offer = [&](const std::string& what, size_t candidate, double purity) {
      const auto [place, is_new] = best.try_emplace(what, Voice{candidate, purity});
      if (!is_new && purity > place->second.purity + 1e-12) place->second = {candidate, purity};
    };
    for (size_t i = 0; i < pool.size(); ++i) {
      const Description description = space_.describe(pool[i].point);
      double whole = 0;
      std::map<std::string, double> by_choice;
      std::map<std::string, size_t> layers;
      for (const Effect& effect : description.effects) {
        const double loss = quality_.effect_loss(effect);
        whole += loss;
        by_choice[effect.part + " " + effect.choice] += loss;
        ++layers[effect.part + " " + effect.choice];
      }
      for (const auto& [what, loss] : by_choice) {
        // One layer alone tells of that layer; all of them alike tell of the choice.
        const bool single = !walkable_ && layers[what] == 1;
        offer(single ? what + pool[i].point.kv : what, i, loss / whole);
      }
      for (const std::string& scale : description.scales) offer("scale " + scale, i, -whole);
    }
    std::set<size_t> chosen;
    for (const auto& [what, voice] : best) chosen.insert(voice.candidate);
    for (const size_t i : chosen) trials.push_back({pool[i].point, 1});
    return trials;
  }

  // Of a space too large to walk: one part at a choice in all its layers, and one layer alone at each family's fewest
  // bits; everything else as accurate as it can be.
  std::vector<Candidate> singles() {
    std::vector<Candidate> list;
    std::set<std::string> seen;
    const Choices accurate(space_.axes.size(), 0);
    std::map<std::string, std::vector<size_t>> parts;
    for (size_t axis = 0; axis < space_.axes.size(); ++axis) parts[space_.axes[axis].part].push_back(axis);
    for (const auto& [part, axes] : parts) {
      if (space_.axes[axes.front()].refined_last) continue;
      for (size_t choice = 1; choice < space_.axes[axes.front()].choices.size(); ++choice) {
        Choices choices = accurate;
        for (const size_t axis : axes) choices[axis] = static_cast<int>(choice);
        add(list, seen, choices);
      }
      if (axes.size() < 2) continue;
      for (const size_t axis : axes) {
        for (const int choice : fewest_bits(axis)) {
          Choices choices = accurate;
          choices[axis] = choice;
          add(list, seen, choices);
        }
      }
    }
    return list;
  }

  // Of every family of an axis the choice with the fewest bits.
  std::vector<int> fewest_bits(size_t axis) const {
    std::map<std::string, std::pair<double, int>> fewest;
    for (size_t choice = 1; choice < space_.axes[axis].choices.size(); ++choice) {
      Choices choices(space_.axes.size(), 0);
      choices[axis] = static_cast<int>(choice);
      const Made made = space_.make(choices);
      if (!made.valid()) continue;
      for (const Effect& effect : space_.describe(made.point).effects) {
        if (effect.part != space_.axes[axis].part) continue;
        const auto place = fewest.try_emplace(effect.family, 1e9, 0).first;
        place->second = std::min(place->second, {effect.bits, static_cast<int>(choice)});
      }
    }
    std::vector<int> list;
    for (const auto& [family, found] : fewest) list.push_back(found.second);
    return list;
  }

  // --- Rounds
  // ---------------------------------------------------------------------------------------------------------

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
    const std::vector<Candidate> pool = walkable_ ? walked_ : allocated(whole);
    std::vector<Place> all = whole;
    for (const Candidate& candidate : pool) {
      if (measured.find(candidate.point, settings_.texts) != nullptr) continue;
      promises.push_back({&candidate, quality_.guess(candidate.point)});
      all.push_back({candidate.bytes, std::exp(promises.back().guess.log_loss)});
    }
    Staircase stairs(whole, box_of(all));
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

  // Candidates of a space that cannot be walked.
  std::vector<Candidate> allocated(const std::vector<Place>&) {
    std::vector<Candidate> list;
    std::set<std::string> seen;
    for (const Choices& scales : choices_of_scales()) {
      for (int draw = 0; draw <= kDraws; ++draw) {
        const auto found = best_allocations(shares(scales, draw == 0 ? nullptr : &random_), kCells);
        const size_t every = std::max<size_t>(1, found.size() / kAllocations);
        for (size_t i = 0; i < found.size(); i += every) {
          Choices choices = found[i];
          for (size_t axis = 0; axis < choices.size(); ++axis) {
            if (scales[axis] >= 0) choices[axis] = scales[axis];
          }
          add(list, seen, choices);
        }
      }
    }
    const std::vector<Candidate> before = list;
    for (const auto& [text, choices] : choices_) add_neighbours(list, seen, choices);
    return list;
  }

  // A measured point with one axis changed: where the model is not additive, the front creeps along by these.
  void add_neighbours(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices) {
    for (int i = 0; i < 8; ++i) {
      Choices other = choices;
      const size_t axis = random_.below(other.size());
      if (space_.axes[axis].refined_last) continue;
      other[axis] = static_cast<int>(random_.below(space_.axes[axis].choices.size()));
      add(list, seen, other);
    }
  }

  // Every combination of the axes that multiply (windows), -1 elsewhere; axes that are refined last stay at their
  // first.
  std::vector<Choices> choices_of_scales() const {
    std::vector<Choices> all = {Choices(space_.axes.size(), -1)};
    for (size_t axis = 0; axis < space_.axes.size(); ++axis) {
      if (space_.axes[axis].refined_last) {
        for (Choices& choices : all) choices[axis] = 0;
      } else if (multiplies(axis)) {
        std::vector<Choices> more;
        for (const Choices& choices : all) {
          for (size_t choice = 0; choice < space_.axes[axis].choices.size(); ++choice) {
            more.push_back(choices);
            more.back()[axis] = static_cast<int>(choice);
          }
        }
        all = std::move(more);
      }
    }
    return all;
  }

  // An axis multiplies if it changes the scales of a point, not its effects.
  bool multiplies(size_t axis) const {
    Choices choices(space_.axes.size(), 0);
    for (size_t a = 0; a < choices.size(); ++a) choices[a] = static_cast<int>(space_.axes[a].choices.size()) - 1;
    std::set<std::vector<std::string>> scales;
    for (size_t choice = 0; choice < space_.axes[axis].choices.size(); ++choice) {
      choices[axis] = static_cast<int>(choice);
      const Made made = space_.make(choices);
      if (made.valid()) scales.insert(space_.describe(made.point).scales);
    }
    return scales.size() > 1;
  }

  // Of every choice of every axis, against the most accurate point; axes that are given in `scales` add nothing.
  std::vector<std::vector<Share>> shares(const Choices& scales, Random* draw) {
    Choices accurate(space_.axes.size(), 0);
    for (size_t axis = 0; axis < accurate.size(); ++axis) accurate[axis] = std::max(0, scales[axis]);
    const Made base = space_.make(accurate);
    const double base_bytes = base.valid() ? space_.bytes(base.point) : 0;
    std::vector<std::vector<Share>> all;
    for (size_t axis = 0; axis < accurate.size(); ++axis) {
      all.push_back({Share{}});
      if (scales[axis] >= 0) continue;
      all.back().clear();
      for (size_t choice = 0; choice < space_.axes[axis].choices.size(); ++choice) {
        Choices choices = accurate;
        choices[axis] = static_cast<int>(choice);
        const Point point = space_.make(choices).point;  // a point that fits no limit still has bytes
        Share share;
        share.bytes = space_.bytes(point) - base_bytes;
        for (const Effect& effect : space_.describe(point).effects) {
          const bool own = effect.part == space_.axes[axis].part;
          const bool other_layer = own && layers_of(effect.part) > 1 && effect.layer != layer_of(axis);
          if (own && !other_layer) share.loss += quality_.effect_loss(effect, draw);
        }
        all.back().push_back(share);
      }
    }
    return all;
  }

  size_t layers_of(const std::string& part) const {
    return static_cast<size_t>(
        std::count_if(space_.axes.begin(), space_.axes.end(), [&](const Axis& axis) { return axis.part == part; }));
  }
  // The place of an axis among those of its part.
  int layer_of(size_t axis) const {
    int layer = 0;
    for (size_t other = 0; other < axis; ++other) layer += space_.axes[other].part == space_.axes[axis].part;
    return layer;
  }

  // --- The end
  // --------------------------------------------------------------------------------------------------------

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
  bool walkable_ = false, settled_ = false;
  std::vector<Candidate> walked_;
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
