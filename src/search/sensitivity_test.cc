#include "search/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "study/example_measurement.h"

namespace kvpareto {
namespace {

using testing::ElementsAre;

Measurement probe(const std::string& kv, double loss, int chunk = 256) {
  return example_measurement({"w16", kv, chunk}, loss);
}

// Keys of 4 bits cost .001 in every layer but the third.
std::vector<Measurement> nine_layers() {
  std::vector<Measurement> list;
  for (int layer = 0; layer < 9; ++layer) {
    list.push_back(probe("k16v16," + std::to_string(layer) + ":v2", 0.01 * (1 + layer)));
    list.push_back(probe("k16v16," + std::to_string(layer) + ":k4t32.pre", layer == 2 ? 0.034 : 0.001));
  }
  return list;
}

TEST(LayerProbe, IsOneSideOfOneLayer) {
  const auto found = layer_probe("k16v16,17:k4t32.pre.had");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, 17);
  EXPECT_EQ(found->side, "k4t32.pre.had");
  EXPECT_EQ(layer_probe("k16v16,0:vq4")->side, "vq4");
  for (const char* other :
       {"", "k16v16", "k16v16,", "k16v16,7", "k16v16,7:", "k16v16,7:k", "k16v16,-7:k4", "k16v16,7-8:k4",
        "k16v16,7:k4v4", "k16v16,7:k4.pre.v4", "k16v16,7:k4,8:k4", "k16v16.sink4,7:k4", "k8v16,7:k4", "k16v16,7:x4",
        "k16v16,99999:k4", "k16v16,99999999999999999999:k4", "k4v4,7:k8"}) {
    EXPECT_FALSE(layer_probe(other)) << other;
  }
}

TEST(LayerProbe, IsOneKindOfLinearOfOneLayer) {
  const auto found = weights_probe("w16,17.down:w4g128");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, 17);
  EXPECT_EQ(found->side, "down:w4g128");
  EXPECT_EQ(weights_probe("w16,0.qkv:w3g32")->side, "qkv:w3g32");
  for (const char* other :
       {"", "w16", "w16,", "w16,7:w4g128", "w16,down:w4g128", "w16,7.down", "w16,7.left:w4g128", "w16,7-8.down:w4g128",
        "w16,7.o:w4g128,8.o:w4g128", "w4g128,7.down:w8g128", "w16,7.o:x", "w16,99999.o:w4g128"}) {
    EXPECT_FALSE(weights_probe(other)) << other;
  }
}

TEST(Sensitivity, WeightsAndCacheHaveTablesOfTheirOwn) {
  std::vector<Measurement> list = nine_layers();
  for (int layer = 0; layer < 3; ++layer) {
    for (const char* side : {"down:w4g128", "qkv:w4g128", "qkv:w8g128", "o:w4g128"}) {
      list.push_back(example_measurement({"w16," + std::to_string(layer) + "." + side, "k16v16", 256}, 0.01 + layer));
    }
  }
  EXPECT_THAT(sensitivity_of(list).sides, ElementsAre("k4t32.pre", "v2"));
  EXPECT_EQ(sensitivity_of(list).layers.size(), 9u);
  const Sensitivity weights = sensitivity_of(list, Probed::kWeights);
  EXPECT_THAT(weights.sides, ElementsAre("qkv:w8g128", "qkv:w4g128", "o:w4g128", "down:w4g128"));
  ASSERT_EQ(weights.layers.size(), 3u);
  EXPECT_EQ(weights.layers[2].loss[3].value, 2.01);
  EXPECT_TRUE(is_layer_probe(list.back()));
}

TEST(LayerProbe, SidesHaveNames) {
  EXPECT_EQ(side_name("down:w4g128"), "down w4g128");
  EXPECT_EQ(side_name("k4"), "K int4");
  EXPECT_EQ(side_name("v2g32.had"), "V int2 g32.had");
  EXPECT_EQ(side_name("k4.pre"), "K int4 pre");
  EXPECT_EQ(side_name("kq8"), "K q8");
  EXPECT_EQ(side_name("odd"), "odd");
  EXPECT_EQ(side_name(""), "");
}

TEST(Sensitivity, IsATableOfLayersAndSides) {
  std::vector<Measurement> list = nine_layers();
  list.push_back(probe("k16v16,3:k2", 0.5));
  list.push_back(probe("k8v8", 9));
  const Sensitivity table = sensitivity_of(list);
  EXPECT_THAT(table.sides, ElementsAre("k4t32.pre", "k2", "v2"));
  ASSERT_EQ(table.layers.size(), 9u);
  EXPECT_EQ(table.layers[3].layer, 3);
  EXPECT_EQ(table.layers[3].loss[1].value, 0.5);
  EXPECT_EQ(table.layers[3].loss[1].samples, 8);
  EXPECT_TRUE(std::isnan(table.layers[4].loss[1].value)) << "not measured";
  EXPECT_DOUBLE_EQ(table.medians[0], 0.001);
  EXPECT_DOUBLE_EQ(table.medians[2], 0.05);
}

TEST(Sensitivity, MarksWhatStandsOut) {
  const Sensitivity table = sensitivity_of(nine_layers());
  EXPECT_TRUE(table.stands_out(table.layers[2], 0));
  EXPECT_FALSE(table.stands_out(table.layers[1], 0));
  EXPECT_FALSE(table.stands_out(table.layers[8], 1)) << "twice the median is not much";
  EXPECT_EQ(who_stands_out(table), "K int4 t32.pre in layer 2 (34×)");
  EXPECT_EQ(who_stands_out({}), "");
}

TEST(Sensitivity, WhatCostsNothingNeverStandsOut) {
  std::vector<Measurement> list;
  for (int layer = 0; layer < 5; ++layer)
    list.push_back(probe("k16v16," + std::to_string(layer) + ":v8", layer == 0 ? 9e-5 : 1e-6));
  EXPECT_EQ(who_stands_out(sensitivity_of(list)), "");
}

TEST(Sensitivity, KeepsToTheCircumstancesOfMost) {
  std::vector<Measurement> list = nine_layers();
  list[0].regime.context = 99;
  list[2].point.chunk = 64;
  list[4].state = State::kFailed;
  list[6].values["kld_mean"].value = std::nan("");
  const Sensitivity table = sensitivity_of(list);
  for (int layer = 0; layer < 4; ++layer) EXPECT_TRUE(std::isnan(table.layers[layer].loss[1].value));
  EXPECT_EQ(table.layers[4].loss[1].value, 0.05);
  EXPECT_TRUE(sensitivity_of({}).layers.empty());
}

}  // namespace
}  // namespace kvpareto
