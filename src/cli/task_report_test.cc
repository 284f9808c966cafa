#include "cli/task_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvpareto {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Measurement scored(const Point& point, const std::vector<double>& marks) {
  Measurement m;
  m.point = point;
  m.texts["mmlu"] = marks;
  m.values["mmlu"] = estimate(marks);
  for (size_t i = 0; i < marks.size(); ++i) m.samples["mmlu"].push_back("s" + std::to_string(i));
  return m;
}

std::vector<double> right_but(size_t wrong) {
  std::vector<double> marks(40, 1);
  std::fill_n(marks.begin(), wrong, 0.0);
  return marks;
}

TEST(TaskReport, TheBaselineIsSixteenBitOfAllElseOfTheCache) {
  std::vector<Measurement> measured = {scored({"w4g128", "k4v4", 256}, right_but(1))};
  EXPECT_EQ(baseline_of(measured[0], measured), nullptr);
  measured.push_back(scored({"w8g128", "k16v16", 256}, right_but(1)));
  EXPECT_EQ(baseline_of(measured[0], measured), nullptr) << "neither the weights are equal nor are they 16 bit";
  measured.push_back(scored({"w4g128", "k16v16", 256}, right_but(1)));
  EXPECT_EQ(baseline_of(measured[0], measured), &measured[2]);
  measured.push_back(scored({"w16", "k16v16", 64}, right_but(1)));
  EXPECT_EQ(baseline_of(measured[0], measured), &measured[3]);
  measured.push_back(scored({"w16", "k16v16", 256}, right_but(1)));
  EXPECT_EQ(baseline_of(measured[0], measured), &measured[4]);
  measured[4].samples.clear();
  EXPECT_EQ(baseline_of(measured[0], measured), &measured[3]) << "without answers there is nothing to compare";
}

TEST(TaskReport, TiesAreCalledTiesAndLossesLosses) {
  const std::vector<Measurement> measured = {scored({"w16", "k16v16", 256}, right_but(4)),
                                             scored({"w16", "k8v8", 256}, right_but(6)),
                                             scored({"w16", "k2v2", 256}, right_but(24))};
  const std::string table = task_table(measured);
  EXPECT_THAT(table, HasSubstr("baseline"));
  EXPECT_THAT(table, HasSubstr("tie"));
  EXPECT_THAT(table, HasSubstr("-50.0"));
  EXPECT_THAT(table, HasSubstr("worse"));
  EXPECT_THAT(table, Not(HasSubstr("better")));
  EXPECT_THAT(regression_lines(measured), HasSubstr("k2v2: 20 samples worse, 0 better; worst: s"));
  EXPECT_TRUE(task_table({Measurement()}).empty());
}

TEST(TaskReport, PowerComesFromTheDifferencesOrTheScores) {
  const std::vector<Measurement> pair = {scored({"w16", "k16v16", 256}, right_but(4)),
                                         scored({"w16", "k2v2", 256}, right_but(24))};
  // Single differences of 0 and -1, half each: a deviation of .506, so (2.8016 * 50.6)^2 and a ninth of that.
  EXPECT_THAT(power_lines(pair), HasSubstr("of 1 point takes 20126 samples, of 3 points 2237"));
  EXPECT_THAT(power_lines({pair[0]}), HasSubstr("single scores"));
  EXPECT_TRUE(power_lines({scored({"w16", "k16v16", 256}, right_but(0))}).empty());
}

}  // namespace
}  // namespace kvpareto
