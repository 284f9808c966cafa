#include "eval/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/testing.h"

namespace kvpareto {
namespace {

std::vector<std::string> some_keys(int count) {
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back(fmt::format("question {}", i));
  return keys;
}

TEST(Split, EveryKeyBelongsToExactlyOnePart) {
  int counts[3] = {};
  for (const std::string& key : some_keys(4000)) {
    int parts = 0;
    for (const Split split : {Split::kSearch, Split::kVerification, Split::kCalibration}) {
      parts += belongs(key, split);
      counts[static_cast<int>(split) - 1] += belongs(key, split);
    }
    EXPECT_EQ(parts, 1) << key;
    EXPECT_TRUE(belongs(key, Split::kAll));
  }
  // Five standard deviations.
  EXPECT_NEAR(counts[0], 2000, 160);
  EXPECT_NEAR(counts[1], 1600, 155);
  EXPECT_NEAR(counts[2], 400, 95);
}

// What was steered by must never verify, in this version and the next: places that must not move.
TEST(Split, PlacesAreForEver) {
  EXPECT_TRUE(belongs("What is the capital of France?", Split::kVerification));
  EXPECT_TRUE(belongs("needle, seed 1, 0", Split::kVerification));
  EXPECT_TRUE(belongs("needle, seed 1, 1", Split::kCalibration));
  EXPECT_TRUE(belongs("needle, seed 1, 2", Split::kSearch));
}

TEST(ChooseSamples, AGreaterLimitAddsBehindAndASeedShuffles) {
  const auto keys = some_keys(500);
  const auto few = choose_samples(keys, Split::kSearch, 1, 20), many = choose_samples(keys, Split::kSearch, 1, 100);
  ASSERT_EQ(few.size(), 20u);
  ASSERT_EQ(many.size(), 100u);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_NE(few, choose_samples(keys, Split::kSearch, 2, 20));
  for (const size_t i : many) EXPECT_TRUE(belongs(keys[i], Split::kSearch));
  EXPECT_EQ(std::set<size_t>(many.begin(), many.end()).size(), 100u);
}

TEST(ChooseSamples, AllThereAre) {
  const auto keys = some_keys(30);
  EXPECT_EQ(choose_samples(keys, Split::kAll, 1, 1000).size(), 30u);
  EXPECT_TRUE(choose_samples(keys, Split::kAll, 1, 0).empty());
}

TEST(ParseSplit, NamesAndTheNearest) {
  for (const std::string& name : split_names()) parse_split(name);
  EXPECT_EQ(parse_split("verification"), Split::kVerification);
  EXPECT_THAT(message_of([] { parse_split("serch"); }), testing::HasSubstr("did you mean search"));
}

}  // namespace
}  // namespace kvpareto
