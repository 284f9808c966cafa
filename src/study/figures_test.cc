#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "study/measurement.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

TEST(Figures, AreNamedOnceAndDescribed) {
  std::set<std::string> names, labels;
  for (const Figure& figure : figures()) {
    EXPECT_TRUE(names.insert(figure.name).second) << figure.name;
    EXPECT_TRUE(labels.insert(figure.label).second) << figure.label;
    EXPECT_TRUE(std::all_of(figure.name.begin(), figure.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    })) << figure.name;
    EXPECT_TRUE(figure.description.ends_with('.')) << figure.name;
  }
}

TEST(Figures, AreFoundByName) {
  for (const Figure& figure : figures()) EXPECT_EQ(find_figure(figure.name), &figure);
  EXPECT_EQ(find_figure("kld"), nullptr);
  EXPECT_EQ(find_figure(""), nullptr);
}

TEST(Figures, FollowFromTheTasks) {
  for (const TaskFacts& task : task_facts()) {
    const Figure *score = find_figure(task.name), *nll = find_figure(task.name + "_nll");
    ASSERT_NE(score, nullptr) << task.name;
    ASSERT_NE(nll, nullptr) << task.name;
    EXPECT_EQ(score->task, task.name);
    EXPECT_EQ(nll->task, task.name);
    EXPECT_EQ(nll->better, Better::kLess);
    EXPECT_EQ(score->better, task.kind == ScoreKind::kShare ? Better::kMore : Better::kLess);
    for (const TaskFacts::Also& also : task.also) EXPECT_EQ(find_figure(task.name + also.ending)->task, task.name);
    EXPECT_GE(task.chance, 0);
    EXPECT_LT(task.chance, 0.5);
    EXPECT_EQ(find_task_facts(task.name), &task);
  }
  EXPECT_EQ(find_task_facts("needel"), nullptr);
  EXPECT_EQ(find_figure("gsm8k_strict")->task, "gsm8k");
  EXPECT_TRUE(find_figure("kld_mean")->task.empty());
}

TEST(Figures, DirectionsOfTheObjectives) {
  EXPECT_EQ(find_figure("peak_bytes")->better, Better::kLess);
  EXPECT_EQ(find_figure("kld_mean")->better, Better::kLess);
  EXPECT_EQ(find_figure("same_top")->better, Better::kMore);
  EXPECT_EQ(find_figure("decode_ts")->better, Better::kMore);
}

TEST(Measurement, ValueOfWhatWasNotMeasuredIsNaN) {
  Measurement m;
  m.values["kld_mean"] = {0.25, 0.01, 8};
  EXPECT_EQ(m.value("kld_mean"), 0.25);
  EXPECT_TRUE(std::isnan(m.value("needle")));
}

}  // namespace
}  // namespace kvpareto
