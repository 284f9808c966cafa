#include "search/quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace kvpareto {
namespace {

constexpr int kLayers = 8, kTexts = 4;

// "4444222244442222:88...": digits of keys, then of values, a layer each; 0 for 16 bits.
Description describe(const Point& point) {
  Description description;
  const size_t half = point.kv.find(':');
  for (size_t i = 0; i < point.kv.size(); ++i) {
    if (i == half || point.kv[i] == '0') continue;
    const bool keys = i < half;
    const int layer = static_cast<int>(keys ? i : i - half - 1);
    description.effects.push_back({keys ? "keys" : "values", layer, std::string(1, point.kv[i]), "all",
                                   static_cast<double>(point.kv[i] - '0'), kLayers});
  }
  return description;
}

double truth(const Point& point) {
  double sum = 0;
  for (const Effect& effect : describe(point).effects) {
    const double fragile = effect.part == "keys" && effect.layer == 2 ? 10 : 1 + 0.2 * effect.layer;
    sum += (effect.part == "keys" ? 0.4 : 0.15) * fragile * std::pow(4.0, 2 - effect.bits) / kLayers;
  }
  return sum;
}

Measurement measure(const std::string& kv, int texts = kTexts) {
  Measurement m;
  m.point.kv = kv;
  m.regime.texts = texts;
  m.values["kld_mean"] = {truth(m.point) * (texts < kTexts ? 1.3 : 1), 0, texts};
  return m;
}

std::string all(char keys, char values) { return std::string(kLayers, keys) + ":" + std::string(kLayers, values); }

TEST(Quality, LearnsLayersAndChoicesFromCheapProbes) {
  std::vector<Measurement> measured;
  for (const char bits : {'2', '3', '4', '8'}) {
    measured.push_back(measure(all(bits, '0'), 1));
    measured.push_back(measure(all('0', bits), 1));
  }
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const size_t place : {static_cast<size_t>(layer), static_cast<size_t>(kLayers + 1 + layer)}) {
      std::string kv = all('0', '0');
      kv[place] = '2';
      measured.push_back(measure(kv, 1));
    }
  }
  measured.push_back(measure(all('4', '4')));  // what one text is against four
  Quality quality(describe, kTexts);
  quality.fit(measured);
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    std::string kv = all('0', '0');
    for (char& c : kv) c = c == ':' ? c : "2348"[random.below(4)];
    const Guess guess = quality.guess(Point{"w16", kv, 256});
    EXPECT_NEAR(guess.log_loss, std::log(truth({"w16", kv, 256})), 0.15) << kv;
    EXPECT_LT(guess.deviation, 0.3) << kv;
  }
}

TEST(Quality, LayersThatStandOutAtFewBitsDoLessAtMore) {
  std::vector<Measurement> measured = {measure(all('2', '0')), measure(all('4', '0'))};
  for (size_t layer = 0; layer < kLayers; ++layer) {
    std::string kv = all('0', '0');
    kv[layer] = '2';
    measured.push_back(measure(kv));
  }
  Quality quality(describe, kTexts);
  quality.fit(measured);
  const auto loss = [&](int layer, double bits) {
    return quality.loss_of(
        std::vector<Effect>{{"keys", layer, std::string(1, static_cast<char>('0' + bits)), "all", bits, kLayers}});
  };
  const double at_two = std::log(loss(2, 2) / loss(3, 2)), at_four = std::log(loss(2, 4) / loss(3, 4));
  EXPECT_NEAR(at_two, std::log(10 / 1.6), 0.1);
  EXPECT_GT(at_four, 0.5 * at_two);
  EXPECT_LT(at_four, 0.85 * at_two);
}

// Layer 0 loses as much as layer 7 and is carried through all the others: measured alone it looks worse.
TEST(Quality, WhatRoundingCarriesIsNoLossOfTheLayer) {
  const auto carried = [](const std::string& kv) {
    Measurement m = measure(kv);
    double sum = 0, share = 0;
    for (const Effect& effect : describe(m.point).effects) {
      sum += 2e-4 * std::pow(4.0, 4 - effect.bits);
      share = std::max(share, 1 - effect.layer / double{kLayers});
    }
    m.values["kld_mean"].value = sum + 3e-4 * share;
    return m;
  };
  std::vector<Measurement> measured = {carried(all('4', '0')), carried(all('8', '0'))};
  for (size_t layer = 0; layer < kLayers; ++layer) {
    for (const char bits : {'4', '8'}) {
      std::string kv = all('0', '0');
      kv[layer] = bits;
      measured.push_back(carried(kv));
    }
  }
  ASSERT_GT(measured[2].values["kld_mean"].value, 2 * measured[16].values["kld_mean"].value);
  Quality quality(describe, kTexts);
  quality.fit(measured);
  const auto loss = [&](int layer) {
    return quality.loss_of(std::vector<Effect>{{"keys", layer, "4", "all", 4, kLayers}});
  };
  EXPECT_NEAR(std::log(loss(0) / loss(7)), 0, 0.15);
  EXPECT_NEAR(std::log(loss(7) / 2e-4), 0, 0.15);
  for (const Measurement& m : measured) {
    EXPECT_NEAR(quality.guess(m.point).log_loss, std::log(m.values.at("kld_mean").value), 0.1) << m.point.kv;
  }
}

TEST(Quality, KnowsWhatItDoesNotKnow) {
  Quality quality(describe, kTexts);
  const Point point{"w16", all('4', '4'), 256};
  const double before = quality.guess(point).deviation;
  EXPECT_GT(before, 1);
  const std::vector<Measurement> one = {measure(all('4', '4'))};
  quality.fit(one);
  EXPECT_LT(quality.guess(point).deviation, 0.2);
  EXPECT_GT(quality.guess({"w16", all('2', '4'), 256}).deviation, quality.guess(point).deviation);
  EXPECT_NEAR(quality.guess(point).log_loss, std::log(truth(point)), 0.02);
}

TEST(Quality, WhatFailedOrLostNothingSaysNothing) {
  Quality quality(describe, kTexts);
  Measurement failed = measure(all('4', '4')), exact = measure(all('0', '0'));
  failed.state = State::kFailed;
  const std::vector<Measurement> measured = {failed, exact};
  quality.fit(measured);
  EXPECT_GT(quality.guess({"w16", all('4', '4'), 256}).deviation, 1);
  EXPECT_LT(quality.guess({"w16", all('0', '0'), 256}).log_loss, std::log(1.01e-4));
}

}  // namespace
}  // namespace kvpareto
