#include "search/candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace kvpareto {
namespace {

constexpr size_t kWalkable = 20'000;  // spaces up to this size are candidates as a whole
constexpr size_t kCells = 3000;       // of the bytes of an allocation
constexpr size_t kAllocations = 150;  // candidates of one dynamic programme
constexpr int kDraws = 4;             // dynamic programmes under draws from the posterior, beside that of the mean
constexpr int kNeighbours = 8;        // of every point

}  // namespace

Candidates::Candidates(const Space& space) : space_(space), walkable_(countable_size(space) <= kWalkable) {
  std::set<std::string> seen;
  for (size_t index = 0; walkable_ && index < countable_size(space_); ++index) {
    const Choices choices = choices_at(space_, index);
    if (at_first_of_refined(choices)) add(walked_, seen, choices);
  }
}

std::vector<Candidate> Candidates::all(Quality& quality, Random& random,
                                       const std::map<std::string, Choices>& near) const {
  return walkable_ ? walked_ : allocated(quality, random, near);
}

bool Candidates::add(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices) const {
  const Made made = space_.make(choices);
  if (!made.valid() || !seen.insert(to_text(made.point)).second) return false;
  list.push_back({made.point, choices, space_.bytes(made.point)});
  return true;
}

bool Candidates::at_first_of_refined(const Choices& choices) const {
  for (size_t axis = 0; axis < choices.size(); ++axis) {
    if (space_.axes[axis].refined_last && choices[axis] > 0) return false;
  }
  return true;
}

// Where a choice is had that is not had everywhere: in one layer of a space too large to walk, in one kind of layers.
// Elsewhere it tells of the choice.
std::string Candidates::where_alone(const std::vector<Effect>& effects) const {
  const Effect& first = effects.front();
  if (!walkable_ && effects.size() == 1 && first.layers > 1) return fmt::format(" layer {}", first.layer);
  const bool one_kind = std::all_of(effects.begin(), effects.end(), [&](const Effect& effect) {
    return effect.kinds > 1 && effect.layer % effect.kinds == first.layer % first.kinds;
  });
  const auto of_a_kind = static_cast<size_t>(first.layers / first.kinds);
  return one_kind && effects.size() == of_a_kind ? fmt::format(" kind {}", first.layer % first.kinds) : "";
}

// The parts that a trial tells of: those choices of which no other part is louder, as far as priors know.
std::vector<Point> Candidates::screening(Quality& quality) const {
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
    std::map<std::string, std::vector<Effect>> by_choice;
    for (const Effect& effect : description.effects) {
      whole += quality.loss_of({&effect, 1});
      by_choice[effect.part + " " + effect.choice].push_back(effect);
    }
    for (const auto& [choice, effects] : by_choice) {
      offer(choice + where_alone(effects), i, quality.loss_of(effects) / whole);
    }
    for (const std::string& scale : description.scales) offer("scale " + scale, i, -whole);
  }
  std::set<size_t> chosen;
  for (const auto& [what, voice] : best) chosen.insert(voice.candidate);
  std::vector<Point> points;
  for (const size_t i : chosen) points.push_back(pool[i].point);
  return points;
}

// Of a space too large to walk: one part at a choice in all its layers, and one layer alone at each family's fewest
// bits; everything else as accurate as it can be.
std::vector<Candidate> Candidates::singles() const {
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
std::vector<int> Candidates::fewest_bits(size_t axis) const {
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

// Candidates of a space that cannot be walked.
std::vector<Candidate> Candidates::allocated(Quality& quality, Random& random,
                                             const std::map<std::string, Choices>& near) const {
  std::vector<Candidate> list;
  std::set<std::string> seen;
  for (const Choices& scales : choices_of_scales()) {
    for (int draw = 0; draw <= kDraws; ++draw) {
      const auto found = best_allocations(shares(scales, quality, draw == 0 ? nullptr : &random), kCells);
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
  for (const auto& [text, choices] : near) add_neighbours(list, seen, choices, random);
  return list;
}

// A measured point with one axis changed: where the model is not additive, the front creeps along by these.
void Candidates::add_neighbours(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices,
                                Random& random) const {
  for (int i = 0; i < kNeighbours; ++i) {
    Choices other = choices;
    const size_t axis = random.below(other.size());
    if (space_.axes[axis].refined_last) continue;
    other[axis] = static_cast<int>(random.below(space_.axes[axis].choices.size()));
    add(list, seen, other);
  }
}

// Every combination of the axes that multiply (windows), -1 elsewhere; axes that are refined last stay at their
// first.
std::vector<Choices> Candidates::choices_of_scales() const {
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
bool Candidates::multiplies(size_t axis) const {
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
std::vector<std::vector<Share>> Candidates::shares(const Choices& scales, Quality& quality, Random* draw) const {
  Choices accurate(space_.axes.size(), 0);
  for (size_t axis = 0; axis < accurate.size(); ++axis) accurate[axis] = std::max(0, scales[axis]);
  const Made base = space_.make(accurate);
  const double base_bytes = base.valid() ? space_.bytes(base.point) : 0;
  std::vector<std::vector<Share>> all;
  for (size_t axis = 0; axis < accurate.size(); ++axis) {
    all.push_back({Share{}});
    if (scales[axis] >= 0) continue;
    all.back().clear();
    std::vector<std::vector<Effect>> points;
    for (size_t choice = 0; choice < space_.axes[axis].choices.size(); ++choice) {
      Choices choices = accurate;
      choices[axis] = static_cast<int>(choice);
      const Point point = space_.make(choices).point;  // a point that fits no limit still has bytes
      points.push_back(space_.describe(point).effects);
      all.back().push_back({space_.bytes(point) - base_bytes, 0});
    }
    for (size_t choice = 0; choice < points.size(); ++choice) {
      // What every choice of this axis has is an effect of another one.
      std::vector<Effect> own;
      std::copy_if(points[choice].begin(), points[choice].end(), std::back_inserter(own), [&](const Effect& effect) {
        return !std::all_of(points.begin(), points.end(), [&](const std::vector<Effect>& effects) {
          return std::find(effects.begin(), effects.end(), effect) != effects.end();
        });
      });
      all.back()[choice].loss = quality.loss_of(own, draw);
    }
  }
  return all;
}

}  // namespace kvpareto
