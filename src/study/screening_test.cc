#include "study/screening.h"

#include <gtest/gtest.h>

#include "base/testing.h"

namespace kvpareto {
namespace {

Measurement scored(const std::string& task, const std::vector<double>& marks) {
  Measurement m;
  m.texts[task] = marks;
  m.values[task] = estimate(marks);
  for (size_t i = 0; i < marks.size(); ++i) m.samples[task].push_back(std::to_string(i));
  return m;
}

std::vector<double> marks(int right, int wrong) {
  std::vector<double> all(static_cast<size_t>(right), 1);
  all.resize(static_cast<size_t>(right + wrong), 0);
  return all;
}

Standing standing(const std::string& task, const std::vector<double>& exact, const std::vector<double>& nearly) {
  const auto found = screen(scored(task, exact), scored(task, nearly));
  return found.size() == 1 ? found.front().standing : Standing::kTooHard;
}

TEST(Screen, AskFarEnoughAboveChance) {
  EXPECT_EQ(standing("needle", marks(16, 0), marks(16, 0)), Standing::kUsable);
  EXPECT_EQ(standing("needle", marks(0, 16), marks(0, 16)), Standing::kTooHard);
  EXPECT_EQ(standing("needle", marks(2, 14), marks(2, 14)), Standing::kUnclear);
  EXPECT_EQ(standing("mmlu", marks(25, 75), marks(25, 75)), Standing::kTooHard) << "a guess among four";
  EXPECT_EQ(standing("mmlu", marks(35, 65), marks(35, 65)), Standing::kUnclear);
  EXPECT_EQ(standing("mmlu", marks(50, 50), marks(50, 50)), Standing::kUsable);
}

TEST(Screen, MarksThatMoveUnderRoundingAreUnstable) {
  auto moved = marks(10, 10);
  for (size_t i = 0; i < 3; ++i) moved[i] = 0;
  EXPECT_EQ(standing("needle", marks(10, 10), moved), Standing::kUnstable);
  moved[1] = moved[2] = 1;
  EXPECT_EQ(standing("needle", marks(10, 10), moved), Standing::kUsable);
}

TEST(Screen, OtherSamplesAreNotCompared) {
  const Measurement a = scored("needle", marks(4, 4)), b = scored("needle", marks(4, 5));
  EXPECT_TRUE(screen(a, b).empty());
  EXPECT_TRUE(screen(a, Measurement()).empty());
}

TEST(Screening, IsKeptByModelAndTask) {
  const TemporaryFolder folder;
  Study study(folder / "s.db");
  EXPECT_TRUE(kept_screening(study, "m").empty());
  keep_screening(study, "m", screen(scored("needle", marks(0, 9)), scored("needle", marks(0, 9))));
  keep_screening(study, "m", screen(scored("mmlu", marks(1, 0)), scored("mmlu", marks(1, 0))));
  keep_screening(study, "m", screen(scored("needle", marks(9, 0)), scored("needle", marks(9, 0))));
  keep_screening(study, "n", {});
  const auto kept = kept_screening(study, "m");
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].task, "mmlu");
  EXPECT_EQ(kept[1].task, "needle");
  EXPECT_EQ(kept[1].standing, Standing::kUsable);
  EXPECT_EQ(kept[1].score.samples, 9);
  EXPECT_TRUE(kept_screening(study, "n").empty());
  study.set_note("screening of x", "[{\"task\": 3}]");
  EXPECT_NE(message_of([&] { kept_screening(study, "x"); }).find("cannot be read"), std::string::npos);
}

}  // namespace
}  // namespace kvpareto
