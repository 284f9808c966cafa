#include "cli/describe_point.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "search/quality.h"

namespace kvpareto {
namespace {

constexpr int kLayers = 6, kHeadDim = 64, kKinds = 4;

Description describe(const Point& point, Detail detail = Detail::kTogether) {
  return describe_point(point, kLayers, kHeadDim, detail);
}

size_t count(const Description& description, const std::string& part) {
  size_t found = 0;
  for (const Effect& effect : description.effects) found += effect.part == part;
  return found;
}

TEST(DescribePoint, SaysNothingOfWhatIsExact) {
  const Description description = describe(Point());
  EXPECT_TRUE(description.effects.empty());
  EXPECT_TRUE(description.scales.empty());
}

TEST(DescribePoint, TakesAlikeLayersTogether) {
  const Point point{"w16", "k4g64v2g64", 256};
  EXPECT_EQ(describe(point).effects.size(), 2u);
  EXPECT_EQ(describe(point, Detail::kLayers).effects.size(), 2u * kLayers);
  const Description changed = describe({"w16", "k4g64v2g64,3:k8", 256});
  ASSERT_EQ(changed.effects.size(), 2u * kLayers) << "layers that differ are told apart anyway";
  EXPECT_EQ(changed.effects.front().layers, kLayers);
  EXPECT_DOUBLE_EQ(changed.effects.front().bits, 4.5);
}

TEST(DescribePoint, ReadsMixedWeights) {
  const Description uniform = describe({"w4g128e8", "k16v16", 256});
  EXPECT_EQ(count(uniform, "weights"), 1u);
  EXPECT_EQ(count(uniform, "table"), 1u);
  const Description mixed = describe({"w4g128,down:w8g128,0-1:w16", "k16v16", 256});
  EXPECT_EQ(count(mixed, "weights"), static_cast<size_t>((kLayers - 2) * kKinds));
  std::set<std::string> choices;
  std::set<int> places;
  for (const Effect& effect : mixed.effects) {
    choices.insert(effect.choice);
    places.insert(effect.layer);
    EXPECT_EQ(effect.layers, kLayers * kKinds);
  }
  EXPECT_EQ(choices.size(), 2u);
  EXPECT_EQ(*places.begin(), 2 * kKinds) << "two layers have 16 bits";
  EXPECT_NE(describe({"w4g128.awq", "k16v16", 256}).effects.front().family, uniform.effects.front().family);
  EXPECT_EQ(describe({"w4g128.a16", "k16v16", 256}).scales, std::vector<std::string>{"a16"});
}

// One kind of linear of one layer measured alone tells what a scheme that spares it will lose.
TEST(DescribePoint, LetsTheModelOfQualityGuessMixedWeights) {
  const auto loss_at = [](int layer, const std::string& kind) {
    return 0.001 * (kind == "down" ? (layer == 0 ? 50 : 4) : 1);
  };
  std::vector<Measurement> probes;
  double all = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const std::string kind : {"qkv", "o", "gateup", "down"}) {
      Measurement m;
      m.point = {"w16," + std::to_string(layer) + "." + kind + ":w4g128", "k16v16", 256};
      m.regime.texts = 2;
      m.regime.prefill = 512;
      m.values["kld_mean"] = {loss_at(layer, kind), 0, 2};
      all += loss_at(layer, kind);
      probes.push_back(m);
    }
  }
  Measurement uniform;
  uniform.point = {"w4g128", "k16v16", 256};
  uniform.regime.texts = 4;
  uniform.values["kld_mean"] = {all, 0, 4};
  Quality quality([](const Point& point) { return describe(point); }, 4);
  const Point spared{"w4g128,0.down:w16", "k16v16", 256}, other{"w4g128,3.qkv:w16", "k16v16", 256};
  quality.fit(std::vector{uniform});
  const double unknown = quality.guess(spared).deviation;
  quality.fit(std::vector{uniform}, probes);
  EXPECT_NEAR(std::exp(quality.guess(spared).log_loss), all - 0.05, 0.15 * (all - 0.05));
  EXPECT_NEAR(std::exp(quality.guess(other).log_loss), all - 0.001, 0.1 * all);
  EXPECT_LT(quality.guess(spared).deviation, unknown);
}

// Every kind measured alone in all layers tells what schemes that mix kinds lose, other layers' too, though no layer
// was measured alone.
TEST(DescribePoint, LetsTheModelOfQualityGuessOfKinds) {
  const std::map<std::string, double> losses = {{"qkv", .002}, {"o", .001}, {"gateup", .008}, {"down", .05}};
  std::vector<Measurement> kinds;
  for (const auto& [kind, loss] : losses) {
    Measurement m;
    m.point = {"w16," + kind + ":w4g128", "k16v16", 256};
    m.regime.texts = 4;
    m.values["kld_mean"] = {loss, 0, 4};
    kinds.push_back(m);
  }
  Quality quality([](const Point& point) { return describe(point); }, 4);
  quality.fit(kinds);
  const auto guess = [&](const std::string& weights) {
    return std::exp(quality.guess({weights, "k16v16", 256}).log_loss);
  };
  EXPECT_NEAR(guess("w4g128"), .061, 0.1 * .061);
  EXPECT_NEAR(guess("w4g128,down:w16"), .011, 0.1 * .011);
  EXPECT_NEAR(guess("w4g128,0-2.down:w16"), .036, 0.1 * .036);
  EXPECT_GT(quality.guess({"w4g128,0-2.down:w16", "k16v16", 256}).deviation,
            1.5 * quality.guess({"w4g128,down:w16", "k16v16", 256}).deviation)
      << "which of its layers lose it is not known";
}

}  // namespace
}  // namespace kvpareto
