#include "quant/mixed_weights.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace kvpareto {
namespace {

WeightChoice choice(const std::string& text) { return parse_weights(text).linears; }

std::vector<WeightChoice> places_of(const WeightScheme& scheme, int layers) {
  std::vector<WeightChoice> places;
  for (int layer = 0; layer < layers; ++layer) {
    for (size_t kind = 0; kind < kLinearKindCount; ++kind) {
      places.push_back(scheme.at(layer, static_cast<LinearKind>(kind)));
    }
  }
  return places;
}

std::string text_of(const std::string& scheme, int layers, const std::string& table = "w16") {
  return to_text(mixed_weights(places_of(parse_weights(scheme), layers), choice(table)));
}

TEST(MixedWeights, OfPlacesThatAreAlikeNeedsNoChange) {
  EXPECT_EQ(text_of("w4g128", 5), "w4g128");
  EXPECT_EQ(text_of("w16", 5, "w8g128"), "w16e8");
}

TEST(MixedWeights, TakesKindsAndRunsOfLayersTogether) {
  EXPECT_EQ(text_of("w4g128,down:w8g128", 5), "w4g128,down:w8g128");
  EXPECT_EQ(text_of("w4g128,down:w8g128,1-2.down:w16,4.qkv:w3g64", 6), "w4g128,down:w8g128,4.qkv:w3g64,1-2.down:w16");
  EXPECT_EQ(text_of("w4g128,0-4.o:w8g128", 5), "w4g128,o:w8g128");
}

// Any places are had back, through the text too, and are the same text whichever scheme said them first.
TEST(MixedWeights, SayWhatEveryPlaceHas) {
  const std::vector<std::string> texts = {"w16", "w8g128", "w4g128", "w4g32", "w3g128"};
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    const int layers = 1 + static_cast<int>(random.below(9));
    const size_t few = 1 + random.below(texts.size());
    std::vector<WeightChoice> places;
    for (size_t i = 0; i < static_cast<size_t>(layers) * kLinearKindCount; ++i) {
      places.push_back(choice(texts[random.below(few)]));
    }
    const std::string text = to_text(mixed_weights(places, choice("w8g128")));
    const WeightScheme parsed = parse_weights(text);
    EXPECT_EQ(places_of(parsed, layers), places) << text;
    EXPECT_EQ(to_text(parsed.table), "w8g128");
    EXPECT_EQ(to_text(mixed_weights(places_of(parsed, layers), parsed.table)), text);
  }
}

}  // namespace
}  // namespace kvpareto
