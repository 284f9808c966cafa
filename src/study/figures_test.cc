#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "study/measurement.h"

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
