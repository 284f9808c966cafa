#include "search/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/random.h"
#include "base/testing.h"

namespace kvpareto {
namespace {
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
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

Space space_of(size_t weights, size_t schemes, std::vector<int> chunks) {
  Space space;
  space.weights.clear();
  for (size_t i = 0; i < weights; ++i) space.weights.push_back("w" + std::to_string(i));
  for (size_t i = 0; i < schemes; ++i) space.kv.push_back("k" + std::to_string(i));
  space.chunks = std::move(chunks);
  return space;
}

// Runs a search to its end or until `limit` measurements exist; checks what every sampler promises on the way.
void search(Sampler& sampler, const Space& space, std::vector<Measurement>& measured, size_t limit = SIZE_MAX) {
  std::set<std::string> known;
  for (const Measurement& m : measured) known.insert(to_text(m.point));
  for (;;) {
    const std::vector<Point> next = sampler.propose(measured);
    if (next.empty()) break;
    for (const Point& point : next) {
      EXPECT_THAT(space.weights, ::testing::Contains(point.weights));
      EXPECT_THAT(space.kv, ::testing::Contains(point.kv));
      EXPECT_THAT(space.chunks, ::testing::Contains(point.chunk));
      EXPECT_EQ(parse_point(to_text(point)), point);
      ASSERT_TRUE(known.insert(to_text(point)).second) << to_text(point) << " was proposed again";
      measured.push_back(measure(point));
      if (measured.size() >= limit) return;
    }
  }
  EXPECT_EQ(sampler.expected(), measured.size());
}

std::vector<std::string> texts(const std::vector<Measurement>& measured) {
  std::vector<std::string> list;
  for (const Measurement& m : measured) list.push_back(to_text(m.point));
  return list;
}

// Every sampler of the list, without being asked.
class SamplerContract : public ::testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  const std::string name_ = std::get<0>(GetParam());
  const Space space_ = std::vector<Space>{space_of(1, 1, {256}), space_of(1, 1, {256, 64}), space_of(1, 12, {256}),
                                          space_of(2, 9, {256, 64, 1024}), space_of(3, 20, {64, 256})}
                           .at(static_cast<size_t>(std::get<1>(GetParam())));
};

TEST_P(SamplerContract, HasItsName) { EXPECT_EQ(make_sampler(name_, space_, 1)->name(), name_); }

TEST_P(SamplerContract, EndsAndIsRepeatableUnderASeed) {
  std::vector<Measurement> first, second;
  const auto sampler = make_sampler(name_, space_, 7);
  EXPECT_GT(sampler->expected(), 0u);
  EXPECT_LE(sampler->expected(), space_.size());
  search(*sampler, space_, first);
  EXPECT_THAT(sampler->propose(first), IsEmpty());
  search(*make_sampler(name_, space_, 7), space_, second);
  EXPECT_EQ(texts(first), texts(second));
}

TEST_P(SamplerContract, AStoppedSearchGoesOnToTheSameEnd) {
  std::vector<Measurement> whole;
  search(*make_sampler(name_, space_, 7), space_, whole);
  std::vector<std::string> expected = texts(whole);
  std::sort(expected.begin(), expected.end());
  for (size_t stop = 1; stop <= whole.size(); ++stop) {
    std::vector<Measurement> measured;
    search(*make_sampler(name_, space_, 7), space_, measured, stop);
    ASSERT_EQ(measured.size(), stop);
    std::reverse(measured.begin(), measured.end());  // a study may return them in any order
    search(*make_sampler(name_, space_, 7), space_, measured);
    std::vector<std::string> found = texts(measured);
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected) << "stopped after " << stop;
  }
}

TEST_P(SamplerContract, WhatIsNeverMeasuredIsNotProposedForEver) {
  const auto sampler = make_sampler(name_, space_, 7);
  size_t proposals = 0;
  while (!sampler->propose({}).empty()) ASSERT_LE(++proposals, space_.size());
}

TEST_P(SamplerContract, PointsOutsideTheSpaceDoNotMatter) {
  std::vector<Measurement> alone, among;
  search(*make_sampler(name_, space_, 7), space_, alone);
  among = {measure({"w99", "k0", 256}), measure({"w0", "k99", 256}), measure({"w0", "k0", 99})};
  const auto sampler = make_sampler(name_, space_, 7);
  std::vector<std::string> proposed;
  for (;;) {
    const std::vector<Point> next = sampler->propose(among);
    if (next.empty()) break;
    for (const Point& point : next) {
      proposed.push_back(to_text(point));
      among.push_back(measure(point));
    }
  }
  EXPECT_EQ(proposed, texts(alone));
}

INSTANTIATE_TEST_SUITE_P(List, SamplerContract,
                         ::testing::Combine(::testing::ValuesIn(sampler_names()), ::testing::Range(0, 5)));

Measurement found(const Point& point, double cost, double loss) {
  Measurement m;
  m.point = point;
  m.values["peak_bytes"] = {cost, 0, 1};
  m.values["kld_mean"] = {loss, 0, 1};
  return m;
}

TEST(Grid, MeasuresAllSchemesFirstInTheOrderGiven) {
  const auto grid = make_sampler("grid", space_of(2, 2, {256, 64}), 1);
  EXPECT_THAT(grid->propose({}), ElementsAre(Point{"w0", "k0", 256}, Point{"w0", "k1", 256}, Point{"w1", "k0", 256},
                                             Point{"w1", "k1", 256}));
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
  const auto grid = make_sampler("grid", space, 1);
  EXPECT_EQ(grid->expected(), 7u + 4 * 2);
  EXPECT_THAT(
      grid->propose(measured),
      ElementsAre(Point{"w0", "k0", 64}, Point{"w0", "k0", 1024}, Point{"w0", "k2", 64}, Point{"w0", "k2", 1024},
                  Point{"w0", "k3", 64}, Point{"w0", "k3", 1024}, Point{"w0", "k4", 64}, Point{"w0", "k4", 1024}));
  EXPECT_EQ(grid->expected(), 7u + 4 * 2);
}

TEST(Grid, WhatFailedIsNotTriedAgain) {
  const Space space = space_of(1, 2, {256, 64});
  std::vector<Measurement> measured = {found({"w0", "k0", 256}, 2, 0), found({"w0", "k1", 256}, 1, 0)};
  measured[1].state = State::kFailed;
  const auto grid = make_sampler("grid", space, 1);
  EXPECT_THAT(grid->propose(measured), ElementsAre(Point{"w0", "k0", 64}));
  EXPECT_EQ(grid->expected(), 3u);
}

TEST(Grid, WhatIsNamedTwiceIsMeasuredOnce) {
  Space space = space_of(1, 2, {256, 256});
  space.kv.push_back("k0");
  EXPECT_EQ(make_sampler("grid", space, 1)->propose({}).size(), 2u);
}

TEST(MakeSampler, RefusesWithTheNearestName) {
  const auto error = error_of([] { make_sampler("gird", space_of(1, 1, {256}), 1); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("'gird'"), HasSubstr("the nearest is grid")));
}

TEST(MakeSampler, RefusesImpossibleSpaces) {
  Space odd = space_of(1, 1, {256});
  odd.kv = {"k8 v8"};
  for (const Space& space :
       {space_of(0, 1, {256}), space_of(1, 0, {256}), space_of(1, 1, {}), space_of(1, 1, {256, 0}), odd}) {
    const auto error = error_of([&] { make_sampler("grid", space, 1); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->exit(), Exit::kUsage);
  }
}

}  // namespace

// How RapidCheck and GoogleTest print what they found.
std::ostream& operator<<(std::ostream& out, const Point& point) { return out << to_text(point); }

}  // namespace kvpareto
