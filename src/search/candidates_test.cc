#include "search/candidates.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/hash.h"
#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr int kLayers = 12, kTexts = 4;
constexpr int kBits[] = {16, 8, 4, 3, 2};

// Keys and values of every layer at 16 to 2 bits, "k0a1..." one letter a layer: too many points to walk. Losses add,
// but for noise and a tenth of interaction; two layers of keys are fragile.
class LayeredWorld {
 public:
  LayeredWorld() {
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const char* part : {"keys", "values"}) {
        Axis axis{part + std::string(" of layer ") + std::to_string(layer), part, {}};
        for (const int bits : kBits) axis.choices.push_back(std::to_string(bits));
        space.axes.push_back(axis);
      }
    }
    space.make = [](const Choices& choices) {
      std::string text = "k";
      for (const int choice : choices) text += static_cast<char>('a' + choice);
      return Made{{"w16", text, 256}, {}};
    };
    space.describe = [](const Point& point) {
      Description description;
      for (size_t i = 1; i < point.kv.size(); ++i) {
        const int bits = bits_at(point, i);
        if (bits == 16) continue;
        description.effects.push_back({i % 2 == 1 ? "keys" : "values", static_cast<int>(i - 1) / 2,
                                       std::to_string(bits), "all", bits + 0.5, kLayers});
      }
      return description;
    };
    space.bytes = [](const Point& point) {
      double sum = 1e6;
      for (size_t i = 1; i < point.kv.size(); ++i) sum += 1e4 * bits_at(point, i);
      return sum;
    };
    space.baselines = {space.make(Choices(space.axes.size(), 0)).point};
  }

  double loss(const Point& point) const {
    double keys = 0, values = 0;
    for (const Effect& effect : space.describe(point).effects) {
      const double fragile =
          effect.part == "keys" && (effect.layer == 0 || effect.layer == 7) ? 12 : 1 + 0.1 * effect.layer;
      (effect.part == "keys" ? keys : values) += 0.02 * fragile * std::pow(3.6, 2.5 - effect.bits);
    }
    return keys + values + 0.1 * std::min(keys, values);
  }

  Measurement measure(const Trial& trial) const {
    Random random(hash_text(trial.point.kv) + static_cast<uint64_t>(trial.texts));
    const double easy_text = trial.texts < kTexts ? 0.8 : 1;
    Measurement m;
    m.point = trial.point;
    m.regime.texts = trial.texts;
    m.values = {{"peak_bytes", {space.bytes(trial.point), 0, 1}},
                {"kld_mean", {easy_text * loss(trial.point) * std::exp(0.03 * random.normal()), 0, 1}}};
    return m;
  }

  Space space;

 private:
  static int bits_at(const Point& point, size_t i) { return kBits[point.kv[i] - 'a']; }
};

TEST(Candidates, OfALargeSpaceScreenEveryChoiceAndEveryLayer) {
  const LayeredWorld world;
  Quality quality(world.space.describe, kTexts);
  const std::vector<Point> points = Candidates(world.space).screening(quality);
  // Four choices of each side in all layers, and each of the layers' sides alone at 2 bits.
  EXPECT_EQ(points.size(), 2u * 4 + 2 * kLayers);
}

// The trades that nobody can beat: the dynamic programme over what every layer really loses.
std::vector<Place> best_places(const LayeredWorld& world) {
  std::vector<std::vector<Share>> shares;
  for (size_t axis = 0; axis < world.space.axes.size(); ++axis) {
    shares.emplace_back();
    for (int choice = 0; choice < 5; ++choice) {
      Choices choices(world.space.axes.size(), 0);
      choices[axis] = choice;
      const Point point = world.space.make(choices).point;
      shares.back().push_back({world.space.bytes(point), choice == 0 ? 0 : world.loss(point)});
    }
  }
  std::vector<Place> places;
  for (const Choices& choices : best_allocations(shares, 5000)) {
    const Point point = world.space.make(choices).point;
    places.push_back({world.space.bytes(point), world.loss(point)});
  }
  return places;
}

std::vector<Place> uniform_places(const LayeredWorld& world) {
  std::vector<Place> places;
  for (int keys = 0; keys < 5; ++keys) {
    for (int values = 0; values < 5; ++values) {
      Choices choices;
      for (int layer = 0; layer < kLayers; ++layer) choices.insert(choices.end(), {keys, values});
      const Point point = world.space.make(choices).point;
      places.push_back({world.space.bytes(point), world.loss(point)});
    }
  }
  return places;
}

// What is measured whole, with as much as so many whole measurements cost.
template <typename World>
std::vector<Place> found_by_guided(const World& world, uint64_t seed, double budget) {
  std::vector<Measurement> measured;
  std::vector<Place> found;
  const auto sampler = make_sampler("guided", world.space, {kTexts, seed, budget});
  for (auto next = sampler->propose(measured); !next.empty(); next = sampler->propose(measured)) {
    for (const Trial& trial : next) {
      measured.push_back(world.measure(trial));
      if (trial.texts == kTexts) found.push_back({world.space.bytes(trial.point), world.loss(trial.point)});
    }
  }
  return found;
}

TEST(Candidates, GuidedFindsNearlyAllThatLayersGive) {
  const LayeredWorld world;
  const std::vector<Place> best = best_places(world), uniform = uniform_places(world);
  std::vector<Place> everywhere = best;
  everywhere.insert(everywhere.end(), uniform.begin(), uniform.end());
  const Bounds bounds = bounds_of(everywhere);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<Place> found = found_by_guided(world, seed, 45);
    const double reached = hypervolume(found, bounds), most = hypervolume(best, bounds);
    EXPECT_GT(reached, 0.98 * most) << "seed " << seed;
    EXPECT_GT(reached, hypervolume(uniform, bounds) + 0.5 * (most - hypervolume(uniform, bounds))) << "seed " << seed;
  }
}

// Linears by kind at 16 to 3 bits and keys at 16 to 2, "aaaa" and "k"; one kind of linear is fragile, one bears all.
class KindWorld {
 public:
  KindWorld() {
    for (const char* kind : {"qkv", "o", "gateup", "down"}) {
      space.axes.push_back({"linears " + std::string(kind), "weights", {"16", "8", "4", "3"}});
    }
    space.axes.push_back({"keys", "keys", {"16", "8", "4", "3", "2"}});
    space.make = [](const Choices& choices) {
      Made made{{"", std::string(1, static_cast<char>('a' + choices[4])), 256}, {}};
      for (size_t kind = 0; kind < 4; ++kind) made.point.weights += static_cast<char>('a' + choices[kind]);
      return made;
    };
    space.describe = [](const Point& point) {
      Description description;
      for (int place = 0; place < 4 * kLayers; ++place) {
        const int bits = kBits[point.weights[static_cast<size_t>(place % 4)] - 'a'];
        if (bits == 16) continue;
        description.effects.push_back({"weights", place, std::to_string(bits), "all", bits + 0.2, 4 * kLayers, 4});
      }
      const int bits = kBits[point.kv[0] - 'a'];
      if (bits < 16) description.effects.push_back({"keys", 0, std::to_string(bits), "all", bits + 0.5});
      return description;
    };
    space.bytes = [this](const Point& point) {
      double sum = 1e6 + 2e5 * kBits[point.kv[0] - 'a'];
      for (size_t kind = 0; kind < 4; ++kind) sum += kSizes[kind] * kBits[point.weights[kind] - 'a'];
      return sum;
    };
    space.baselines = {space.make(Choices(5, 0)).point};
  }

  double loss(const Point& point) const {
    constexpr double kFragile[] = {1, 0.2, 2, 15};
    double sum = 0;
    for (const Effect& effect : space.describe(point).effects) {
      const double scale = effect.part == "keys" ? 0.02 : 0.004 * kFragile[effect.layer % 4] / kLayers;
      sum += scale * std::pow(3.6, 4 - effect.bits);
    }
    return sum;
  }

  Measurement measure(const Trial& trial) const {
    Measurement m;
    m.point = trial.point;
    m.regime.texts = trial.texts;
    m.values = {{"peak_bytes", {space.bytes(trial.point), 0, 1}}, {"kld_mean", {loss(trial.point), 0, 1}}};
    return m;
  }

  Space space;

 private:
  static constexpr double kSizes[] = {1e5, 1e5, 8e5, 4e5};
};

TEST(Candidates, ScreenEveryKindOfLinearAlone) {
  const KindWorld world;
  Quality quality(world.space.describe, kTexts);
  std::set<std::string> weights;
  for (const Point& point : Candidates(world.space).screening(quality)) weights.insert(point.weights);
  for (const char* alone : {"caaa", "acaa", "aaca", "aaac", "daaa", "adaa", "aada", "aaad"}) {
    EXPECT_TRUE(weights.contains(alone)) << alone;
  }
}

TEST(Candidates, GuidedFindsWhichKindsBearFewBits) {
  const KindWorld world;
  std::vector<Place> all;
  for (size_t index = 0; index < countable_size(world.space); ++index) {
    const Point point = world.space.make(choices_at(world.space, index)).point;
    all.push_back({world.space.bytes(point), world.loss(point)});
  }
  const Bounds bounds = bounds_of(all);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<Place> found = found_by_guided(world, seed, 40);
    EXPECT_GT(hypervolume(found, bounds), 0.985 * hypervolume(all, bounds)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace kvpareto
