#include "cli/probe_sides.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kvpareto {
namespace {

// Six layers; `odd` is what the first one costs, with `side` alone.
Sensitivity table_of(const std::vector<std::string>& sides, const std::vector<double>& usual, size_t side, double odd) {
  Sensitivity table;
  table.sides = sides;
  table.medians = usual;
  for (int layer = 0; layer < 6; ++layer) {
    Sensitivity::Layer row{layer, {}};
    for (size_t s = 0; s < sides.size(); ++s) row.loss.push_back({layer == 0 && s == side ? odd : usual[s], 0, 2});
    table.layers.push_back(row);
  }
  return table;
}

TEST(ProbeSides, AreOverridesOfOneSide) {
  EXPECT_EQ(to_text(probe_scheme(parse_probe_side("--k", 'k', "k4t32.pre"), 7)), "k16v16,7:k4t32.pre");
  EXPECT_EQ(to_text(probe_scheme(parse_probe_side("--v", 'v', "v2g64"), 0)), "k16v16,0:v2");
  for (const char* wrong : {"v4", "k4v4", "k16", "k5", "", "k4,1:k4"}) {
    EXPECT_THROW(parse_probe_side("--k", 'k', wrong), Error) << wrong;
  }
}

TEST(ProbeSides, SuggestionGivesBitsToWhatStandsOut) {
  const Sensitivity table = table_of({"k4t32.pre", "k2", "v4g32", "v2g32"}, {.002, .05, .0005, .01}, 0, .3);
  EXPECT_EQ(to_text(suggested_scheme(table, 0)), "k4t32.pre.v4g32,0:k8");
  EXPECT_EQ(to_text(suggested_scheme(table, 1)), "k2g64v2g32");
  const Sensitivity fewer = table_of({"k4t32.pre", "k2", "v4", "v2"}, {.002, .05, .0005, .01}, 1, 3);
  EXPECT_EQ(to_text(suggested_scheme(fewer, 1)), "k2v2g64,0:k4t32.pre");
}

TEST(ProbeSides, WhatCostsLittleOfTheWholeKeepsItsBits) {
  const Sensitivity table = table_of({"k4", "v4"}, {.02, .0002}, 1, .002);
  EXPECT_TRUE(table.stands_out(table.layers[0], 1));
  EXPECT_EQ(to_text(suggested_scheme(table, 0)), "k4v4g64");
}

TEST(ProbeSides, AnUntriedSideHasSixteenBits) {
  EXPECT_EQ(to_text(suggested_scheme(table_of({"v4", "v2"}, {.002, .05}, 0, .3), 0)), "k16v4g64,0:v8");
}

}  // namespace
}  // namespace kvpareto
