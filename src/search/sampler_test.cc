#include "search/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/hash.h"
#include "base/random.h"
#include "base/testing.h"
#include "search/trade.h"

namespace kvpareto {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A world in which every point has figures of its own and one scheme in seven fails, wherever it is tried.
Measurement measure(const Point& point) {
  Random random(hash_text(point.weights + point.kv));
  Measurement m;
  m.point = point;
  if (random.below(7) == 0) m.state = State::kFailed;
  m.values["peak_bytes"] = {random.uniform() * 1000 + point.chunk, 0, 1};
  m.values["kld_mean"] = {random.uniform(), 0.01, 8};
  return m;
}

// Choices are what they say: "w1", "k7", "64".
Space space_of(size_t weights, size_t schemes, const std::vector<int>& chunks) {
  Space space;
  space.axes = {{"weights", "weights", {}}, {"scheme", "scheme", {}}, {"chunk", "chunk", {}, true}};
  for (size_t i = 0; i < weights; ++i) space.axes[0].choices.push_back("w" + std::to_string(i));
  for (size_t i = 0; i < schemes; ++i) space.axes[1].choices.push_back("k" + std::to_string(i));
  for (const int chunk : chunks) space.axes[2].choices.push_back(std::to_string(chunk));
  const auto axes = space.axes;
  space.make = [axes](const Choices& c) {
    const auto text = [&](size_t axis) { return axes[axis].choices[static_cast<size_t>(c[axis])]; };
    return Made{{text(0), text(1), std::stoi(text(2))}, {}};
  };
  space.describe = [](const Point& point) {
    Description description;
    description.effects = {{"weights", 0, point.weights, "w", 4}, {"scheme", 0, point.kv, "k", 4}};
    return description;
  };
  space.bytes = [](const Point& point) { return measure(point).value("peak_bytes"); };
  if (countable_size(space) > 0) space.baselines = {space.make(Choices(3, 0)).point};
  return space;
}

constexpr int kTexts = 4;

// What a trial finds: on fewer texts the same, blurred.
Measurement measure(const Trial& trial) {
  Measurement m = measure(trial.point);
  m.regime.texts = trial.texts;
  Random random(hash_text(to_text(trial.point)) + static_cast<uint64_t>(trial.texts));
  if (trial.texts < kTexts) m.values["kld_mean"].value *= std::exp(0.1 * random.normal());
  return m;
}

bool contains(const Space& space, const Point& point) {
  for (size_t index = 0; index < countable_size(space); ++index) {
    if (space.make(choices_at(space, index)).point == point) return true;
  }
  return false;
}

// Runs a search to its end or until `limit` measurements exist; checks what every sampler promises on the way.
void search(Sampler& sampler, const Space& space, std::vector<Measurement>& measured, size_t limit = SIZE_MAX) {
  std::set<std::string> known;
  const auto name = [](const Point& point, int texts) { return to_text(point) + " on " + std::to_string(texts); };
  for (const Measurement& m : measured) known.insert(name(m.point, m.regime.texts));
  for (;;) {
    const std::vector<Trial> next = sampler.propose(measured);
    if (next.empty()) break;
    for (const Trial& trial : next) {
      EXPECT_TRUE(contains(space, trial.point)) << to_text(trial.point);
      EXPECT_EQ(parse_point(to_text(trial.point)), trial.point);
      EXPECT_GE(trial.texts, 1);
      EXPECT_LE(trial.texts, kTexts);
      ASSERT_TRUE(known.insert(name(trial.point, trial.texts)).second) << to_text(trial.point) << " was proposed again";
      measured.push_back(measure(trial));
      if (measured.size() >= limit) return;
    }
  }
}

SearchSettings settings(uint64_t seed) { return {kTexts, seed, 0}; }

std::vector<std::string> texts(const std::vector<Measurement>& measured) {
  std::vector<std::string> list;
  for (const Measurement& m : measured) list.push_back(to_text(m.point) + " on " + std::to_string(m.regime.texts));
  return list;
}

// Every sampler of the list, without being asked.
class SamplerContract : public ::testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  const std::string name_ = std::get<0>(GetParam());
  size_t space_size() const { return countable_size(space_); }
  const Space space_ = std::vector<Space>{space_of(1, 1, {256}), space_of(1, 1, {256, 64}), space_of(1, 12, {256}),
                                          space_of(2, 9, {256, 64, 1024}), space_of(3, 20, {64, 256})}
                           .at(static_cast<size_t>(std::get<1>(GetParam())));
};

TEST_P(SamplerContract, HasItsName) { EXPECT_EQ(make_sampler(name_, space_, settings(1))->name(), name_); }

TEST_P(SamplerContract, MeasuresTheBaselineWholeAndFirst) {
  const auto sampler = make_sampler(name_, space_, settings(7));
  EXPECT_EQ(sampler->propose({}).front(), (Trial{space_.baselines.front(), kTexts}));
}

TEST_P(SamplerContract, EndsAndIsRepeatableUnderASeed) {
  std::vector<Measurement> first, second;
  const auto sampler = make_sampler(name_, space_, settings(7));
  EXPECT_GT(sampler->expected(), 0u);
  search(*sampler, space_, first);
  EXPECT_EQ(sampler->expected(), first.size());
  EXPECT_THAT(sampler->propose(first), IsEmpty());
  search(*make_sampler(name_, space_, settings(7)), space_, second);
  EXPECT_EQ(texts(first), texts(second));
}

TEST_P(SamplerContract, AStoppedSearchGoesOnToTheSameEnd) {
  // That one learns from whatever is there: stopped, it knows less than it would have when it goes on.
  if (name_ == "guided") return;
  std::vector<Measurement> whole;
  search(*make_sampler(name_, space_, settings(7)), space_, whole);
  std::vector<std::string> expected = texts(whole);
  std::sort(expected.begin(), expected.end());
  for (size_t stop = 1; stop <= whole.size(); ++stop) {
    std::vector<Measurement> measured;
    search(*make_sampler(name_, space_, settings(7)), space_, measured, stop);
    ASSERT_EQ(measured.size(), stop);
    std::reverse(measured.begin(), measured.end());  // a study may return them in any order
    search(*make_sampler(name_, space_, settings(7)), space_, measured);
    std::vector<std::string> found = texts(measured);
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected) << "stopped after " << stop;
  }
}

TEST_P(SamplerContract, AStoppedSearchMeasuresNothingAgain) {
  for (size_t stop = 1; stop <= 12; stop += 3) {
    std::vector<Measurement> measured;
    search(*make_sampler(name_, space_, settings(7)), space_, measured, stop);
    search(*make_sampler(name_, space_, settings(7)), space_, measured);  // which asserts it
  }
}

TEST_P(SamplerContract, WhatIsNeverMeasuredIsNotProposedForEver) {
  const auto sampler = make_sampler(name_, space_, settings(7));
  size_t proposals = 0;
  while (!sampler->propose({}).empty()) ASSERT_LE(++proposals, 3 * space_size() + 3);
}

TEST_P(SamplerContract, KeepsToItsBudget) {
  SearchSettings few = settings(7);
  few.budget = 5;
  if (name_ == "grid") return;  // walks through all of its space; the caller stops it
  std::vector<Measurement> measured;
  search(*make_sampler(name_, space_, few), space_, measured);
  std::map<std::string, int> texts;  // a point's further texts are all that is paid for
  for (const Measurement& m : measured) {
    int& most = texts[to_text(m.point)];
    most = std::max(most, m.regime.texts);
  }
  double spent = 0;
  for (const auto& [point, most] : texts) spent += static_cast<double>(most) / kTexts;
  EXPECT_LE(spent, few.budget + 1) << "the baseline is on top";
}

TEST_P(SamplerContract, PointsOutsideTheSpaceAreNotProposed) {
  std::vector<Measurement> among = {measure(Point{"w99", "k0", 256}), measure(Point{"w0", "k99", 256}),
                                    measure(Point{"w0", "k0", 99})};
  search(*make_sampler(name_, space_, settings(7)), space_, among);  // which expects it
}

INSTANTIATE_TEST_SUITE_P(List, SamplerContract,
                         ::testing::Combine(::testing::ValuesIn(sampler_names()), ::testing::Range(0, 5)));

Measurement found(const Point& point, double cost, double loss) {
  Measurement m;
  m.point = point;
  m.values["peak_bytes"] = {cost, 0, 1};
  m.values["kld_mean"] = {loss, 0, 1};
  m.regime.texts = 1;
  return m;
}

std::vector<Trial> whole(const std::vector<Point>& points) {
  std::vector<Trial> trials;
  for (const Point& point : points) trials.push_back({point, 1});
  return trials;
}

constexpr SearchSettings kWhole = {1, 1, 0};

TEST(Grid, MeasuresAllSchemesFirstInTheOrderGiven) {
  const auto grid = make_sampler("grid", space_of(2, 2, {256, 64}), kWhole);
  EXPECT_EQ(grid->propose({}), whole({{"w0", "k0", 256}, {"w0", "k1", 256}, {"w1", "k0", 256}, {"w1", "k1", 256}}));
}

TEST(Grid, TriesTheOtherChunksNearTheKneeAndOnTheBaseline) {
  const Space space = space_of(1, 7, {256, 64, 1024});
  const std::vector<Measurement> measured = {
      found({"w0", "k0", 256}, 1000, 0),    // baseline
      found({"w0", "k1", 256}, 900, 2e-4),  // on the front, far from the knee
      found({"w0", "k2", 256}, 520, 3e-4),  // beside the knee
      found({"w0", "k3", 256}, 400, 5e-4),  // knee
      found({"w0", "k4", 256}, 390, 0.1),   // beside the knee
      found({"w0", "k5", 256}, 380, 1.5),   // cheapest and broken
      found({"w0", "k6", 256}, 950, 0.5),   // dominated
  };
  const auto grid = make_sampler("grid", space, kWhole);
  EXPECT_EQ(grid->expected(), 7u + 4 * 2);
  EXPECT_EQ(grid->propose(measured), whole({{"w0", "k0", 64},
                                            {"w0", "k0", 1024},
                                            {"w0", "k2", 64},
                                            {"w0", "k2", 1024},
                                            {"w0", "k3", 64},
                                            {"w0", "k3", 1024},
                                            {"w0", "k4", 64},
                                            {"w0", "k4", 1024}}));
  EXPECT_EQ(grid->expected(), 7u + 4 * 2);
}

TEST(Grid, WhatFailedIsNotTriedAgain) {
  const Space space = space_of(1, 2, {256, 64});
  std::vector<Measurement> measured = {found({"w0", "k0", 256}, 2, 0), found({"w0", "k1", 256}, 1, 0)};
  measured[1].state = State::kFailed;
  const auto grid = make_sampler("grid", space, kWhole);
  EXPECT_EQ(grid->propose(measured), whole({{"w0", "k0", 64}}));
  EXPECT_EQ(grid->expected(), 3u);
}

TEST(Grid, RefusesWhatTakesYears) {
  Space space = space_of(1, 2, {256});
  for (int layer = 0; layer < 40; ++layer)
    space.axes.push_back({"keys of layer " + std::to_string(layer), "keys", {"a", "b"}});
  EXPECT_THAT(message_of([&] { make_sampler("grid", space, kWhole); }), HasSubstr("10^12"));
}

// A world that is what the model of quality.h takes it for, but for noise and an interaction of a tenth: keys and
// values of several choices, whose losses add.
struct AdditiveWorld {
  static constexpr size_t kKeys = 12, kValues = 10;
  Space space;

  static double share(const std::string& part, int choice) {
    if (choice == 0) return 0;
    Random random(hash_text(part) + static_cast<uint64_t>(choice));
    return std::exp(-7 + 0.7 * choice + random.normal());
  }
  static int number(const std::string& text, char letter) { return std::stoi(text.substr(text.find(letter) + 1)); }
  static Measurement measure(const Trial& trial) {
    const int k = number(trial.point.kv, 'k'), v = number(trial.point.kv, 'v');
    const double a = share("keys", k), b = share("values", v);
    Random random(hash_text(to_text(trial.point)) + static_cast<uint64_t>(trial.texts));
    Measurement m;
    m.point = trial.point;
    m.regime.texts = trial.texts;
    m.values["peak_bytes"] = {bytes(trial.point), 0, 1};
    const double easy_text = trial.texts < kTexts ? 0.8 : 1;
    m.values["kld_mean"] = {easy_text * (a + b + 0.1 * std::min(a, b)) * std::exp(0.03 * random.normal()), 0, 1};
    return m;
  }
  static double bytes(const Point& point) {
    return 1e6 * (40 - number(point.kv, 'k') - 1.3 * number(point.kv, 'v')) + 1e5 * (number(point.kv, 'k') % 3);
  }

  AdditiveWorld() {
    space.axes = {{"keys", "keys", {}}, {"values", "values", {}}};
    for (size_t i = 0; i < kKeys; ++i) space.axes[0].choices.push_back(std::to_string(i));
    for (size_t i = 0; i < kValues; ++i) space.axes[1].choices.push_back(std::to_string(i));
    space.make = [](const Choices& c) {
      return Made{{"w16", "k" + std::to_string(c[0]) + "v" + std::to_string(c[1]), 256}, {}};
    };
    space.describe = [](const Point& point) {
      Description description;
      for (const auto& [part, letter] : {std::pair("keys", 'k'), std::pair("values", 'v')}) {
        const int choice = number(point.kv, letter);
        if (choice > 0) description.effects.push_back({part, 0, std::to_string(choice), "all", 8 - 0.5 * choice});
      }
      return description;
    };
    space.bytes = bytes;
    space.baselines = {{"w16", "k0v0", 256}};
  }

  std::vector<Place> places(const std::vector<Measurement>& measured) const {
    std::vector<Place> list;
    for (const Measurement& m : measured) {
      if (m.regime.texts == kTexts) list.push_back(place_of(&m));
    }
    return list;
  }
  std::vector<Measurement> everything() const {
    std::vector<Measurement> all;
    for (size_t i = 0; i < countable_size(space); ++i) {
      all.push_back(measure(Trial{space.make(choices_at(space, i)).point, kTexts}));
    }
    return all;
  }
  // `watch` sees the trials of every round.
  std::vector<Measurement> searched(const SearchSettings& settings,
                                    const std::function<void(const std::vector<Trial>&)>& watch = {}) const {
    std::vector<Measurement> measured;
    const auto sampler = make_sampler("guided", space, settings);
    for (auto next = sampler->propose(measured); !next.empty(); next = sampler->propose(measured)) {
      if (watch) watch(next);
      for (const Trial& trial : next) measured.push_back(measure(trial));
    }
    return measured;
  }
};

TEST(Guided, FindsAKnownFrontAtAFifthOfTheCost) {
  const AdditiveWorld world;
  const std::vector<Measurement> all = world.everything();
  const std::vector<Place> everywhere = world.places(all);
  const Bounds box = bounds_of(everywhere);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SearchSettings fifth = settings(seed);
    fifth.budget = static_cast<double>(all.size()) / 5;
    EXPECT_GE(hypervolume(world.places(world.searched(fifth)), box), 0.99 * hypervolume(everywhere, box))
        << "seed " << seed;
  }
}

// Texts cut short, where there are any, come first, and only what they show to be good is measured on whole ones.
TEST(Guided, BeginsOnShortenedTexts) {
  const AdditiveWorld world;
  SearchSettings cheap = settings(1);
  cheap.short_cost = 0.05;
  std::map<std::string, int> most;
  size_t shortened = 0, whole = 0;
  world.searched(cheap, [&](const std::vector<Trial>& next) {
    for (const Trial& trial : next) {
      const auto [place, is_new] = most.try_emplace(to_text(trial.point), trial.texts);
      if (is_new && trial.point != world.space.baselines.front()) {
        EXPECT_EQ(trial.texts, kShortened) << to_text(trial.point);
      }
      EXPECT_TRUE(is_new || place->second < trial.texts) << to_text(trial.point);
      place->second = trial.texts;
      shortened += trial.texts == kShortened;
      whole += trial.texts == kTexts;
    }
  });
  EXPECT_GT(shortened, 20u);
  EXPECT_GT(whole, 5u);
  EXPECT_LT(whole, shortened);
}

// However little a first text costs, what it shows to be good is measured whole before many others are begun.
TEST(Guided, ConfirmsSomethingInEveryRound) {
  const AdditiveWorld world;
  SearchSettings cheap = settings(1);
  cheap.short_cost = 0.001;
  size_t begun = 0, longest = 0;  // trials on shortened texts since the last whole one, screening left out
  bool screening = true;
  world.searched(cheap, [&](const std::vector<Trial>& next) {
    for (const Trial& trial : next) {
      begun = trial.texts == kShortened && !screening ? begun + 1 : 0;
      longest = std::max(longest, begun);
    }
    screening = false;
  });
  EXPECT_GT(longest, 0u);
  EXPECT_LE(longest, 12u);
}

// Texts that quarrel about the points blur the front; a gain within that blur is worth no trial, unless a budget says
// so.
TEST(Guided, EndsWithinTheFrontsErrorUnlessABudgetIsGiven) {
  const AdditiveWorld world;
  const auto trials_of = [&](double budget) {
    SearchSettings own = settings(1);
    own.budget = budget;
    std::vector<Measurement> measured;
    const auto sampler = make_sampler("guided", world.space, own);
    for (auto next = sampler->propose(measured); !next.empty(); next = sampler->propose(measured)) {
      for (const Trial& trial : next) {
        measured.push_back(AdditiveWorld::measure(trial));
        Random random(hash_text(to_text(trial.point)));
        for (int text = 0; text < trial.texts; ++text) {
          measured.back().texts["kld_mean"].push_back(measured.back().value("kld_mean") *
                                                      std::exp(0.4 * random.normal()));
        }
      }
    }
    return world.places(measured).size();
  };
  const size_t open = trials_of(0), bounded = trials_of(100);
  EXPECT_GE(open, 4u);
  EXPECT_LT(open, bounded);
}

// Just below a limit of memory there is little hypervolume left to gain: with everything else measured, some point is
// worth a trial only to who asks for the best within its bytes.
TEST(Guided, AskedForTheBestWithinSomeBytesItTriesMore) {
  const AdditiveWorld world;
  const std::vector<Measurement> all = world.everything();
  int only_asked = 0;
  for (size_t left_out = 0; left_out < all.size(); ++left_out) {
    std::vector<Measurement> others = all;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
    const auto tries = [&](double most_bytes) {
      SearchSettings own = settings(1);
      own.most_bytes = most_bytes;
      const std::vector<Trial> next = make_sampler("guided", world.space, own)->propose(others);
      return std::any_of(next.begin(), next.end(), [&](const Trial& t) { return t.point == all[left_out].point; });
    };
    const bool asked = tries(AdditiveWorld::bytes(all[left_out].point)), unasked = tries(0);
    EXPECT_TRUE(asked || !unasked) << to_text(all[left_out].point);
    only_asked += asked && !unasked;
  }
  EXPECT_GT(only_asked, 0);
}

// What another regime told needs no screening to be believed.
TEST(Guided, LearnsFromOtherRegimes) {
  const AdditiveWorld world;
  const std::vector<Measurement> all = world.everything();
  const std::vector<Place> everywhere = world.places(all);
  const Bounds box = bounds_of(everywhere);
  const auto reached = [&](const std::vector<Measurement>& elsewhere) {
    SearchSettings few = settings(1);
    few.budget = 14;
    few.elsewhere = elsewhere;
    return hypervolume(world.places(world.searched(few)), box);
  };
  std::vector<Measurement> elsewhere = all;
  for (Measurement& m : elsewhere) {
    m.regime.prefill = 99;
    m.values["kld_mean"].value *= 3;
  }
  EXPECT_GT(reached(elsewhere), reached({}));
}

TEST(MakeSampler, RefusesWithTheNearestName) {
  const auto error = error_of([] { make_sampler("gird", space_of(1, 1, {256}), kWhole); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("'gird'"), HasSubstr("the nearest is grid")));
}

TEST(MakeSampler, RefusesImpossibleSpaces) {
  Space twice = space_of(1, 2, {256});
  twice.axes[1].choices[1] = "k0";
  for (const Space& space : {Space(), space_of(0, 1, {256}), space_of(1, 0, {256}), space_of(1, 1, {}), twice}) {
    const auto error = error_of([&] { make_sampler("grid", space, kWhole); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->exit(), Exit::kUsage);
  }
}

}  // namespace

// How RapidCheck and GoogleTest print what they found.
std::ostream& operator<<(std::ostream& out, const Point& point) { return out << to_text(point); }
std::ostream& operator<<(std::ostream& out, const Trial& trial) {
  return out << to_text(trial.point) << " on " << trial.texts;
}

}  // namespace kvpareto
