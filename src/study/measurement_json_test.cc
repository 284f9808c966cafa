#include "study/measurement_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>

#include "base/testing.h"
#include "study/example_measurement.h"

namespace kvpareto {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

bool same_number(double a, double b) { return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0; }

void expect_same(const Measurement& a, const Measurement& b) {
  EXPECT_EQ(a.point, b.point);
  EXPECT_EQ(a.regime, b.regime);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.reason, b.reason);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (const auto& [name, estimate] : a.values) {
    const Estimate& other = b.values.at(name);
    EXPECT_TRUE(same_number(estimate.value, other.value)) << name;
    EXPECT_TRUE(same_number(estimate.standard_error, other.standard_error)) << name;
    EXPECT_EQ(estimate.samples, other.samples);
  }
  ASSERT_EQ(a.texts.size(), b.texts.size());
  for (const auto& [name, list] : a.texts) {
    EXPECT_TRUE(std::equal(list.begin(), list.end(), b.texts.at(name).begin(), b.texts.at(name).end(), same_number));
  }
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.provenance.program, b.provenance.program);
  EXPECT_EQ(a.provenance.device, b.provenance.device);
  EXPECT_EQ(a.provenance.time, b.provenance.time);
  EXPECT_EQ(a.provenance.seconds, b.provenance.seconds);
}

TEST(MeasurementJson, EveryFieldSurvives) {
  Measurement m = example_measurement();
  expect_same(measurement_from_json(to_json(m), "test"), m);
  m.state = State::kFailed;
  m.reason = "não há memória: \"2 GiB\" \\ 残り\t\x01";
  expect_same(measurement_from_json(to_json(m), "test"), m);
  EXPECT_THAT(to_json(m), Not(HasSubstr("\n")));
}

TEST(MeasurementJson, EveryDoubleSurvives) {
  EXPECT_TRUE(rc::check("bits in, bits out", [] {
    const auto bits = *rc::gen::arbitrary<uint64_t>();
    Measurement m;
    std::memcpy(&m.values["kld_mean"].value, &bits, sizeof bits);
    m.values["kld_mean"].samples = *rc::gen::arbitrary<int64_t>();
    m.regime.seed = *rc::gen::arbitrary<uint64_t>();
    const Measurement read = measurement_from_json(to_json(m), "test");
    RC_ASSERT(same_number(read.value("kld_mean"), m.value("kld_mean")));
    RC_ASSERT(read.values.at("kld_mean").samples == m.values.at("kld_mean").samples);
    RC_ASSERT(read.regime.seed == m.regime.seed);
  }));
}

TEST(MeasurementJson, TextThatIsNotUtf8IsKeptAsFarAsItCanBe) {
  Measurement m;
  m.reason = "cannot open \xff\xfe.txt";
  EXPECT_EQ(measurement_from_json(to_json(m), "test").reason, "cannot open \ufffd\ufffd.txt");
}

TEST(MeasurementJson, AbsentFieldsKeepTheirDefaultAndUnknownOnesArePassedOver) {
  const Measurement m = measurement_from_json(
      R"({"point": "w16_k8v8_chunk64", "state": "done", "regime": {"step": 7, "moon": []}, "values": {"new": {"value": 3}}})",
      "test");
  EXPECT_EQ(m.point.chunk, 64);
  EXPECT_EQ(m.regime.step, 7);
  EXPECT_EQ(m.regime.order, Regime{}.order);
  EXPECT_EQ(m.value("new"), 3);
}

// `good` with one part replaced, and what the message must name.
struct Hostile {
  std::string part, by, named;
};
void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.part << " -> " << hostile.by.substr(0, 60); }

class HostileJson : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileJson, IsOneClearLine) {
  const std::string good =
      R"({"point":"w16_k8v8_chunk64","state":"done","regime":{"step":7,"seed":1},"reason":"no","provenance":{"seconds":2},)"
      R"("values":{"ppl":{"value":1.5,"samples":9}},"texts":{"ppl":[1,2]}})";
  ASSERT_NO_THROW(measurement_from_json(good, "here"));
  const auto& [part, by, named] = GetParam();
  const size_t at = good.find(part);
  ASSERT_NE(at, std::string::npos);
  std::string bad = good;
  bad.replace(at, part.size(), by);
  const auto error = error_of([&] { measurement_from_json(bad, "here"); });
  ASSERT_TRUE(error) << bad.substr(0, 200);
  EXPECT_EQ(error->exit(), Exit::kFailure);
  EXPECT_THAT(error->what(), AllOf(StartsWith("here"), HasSubstr(named), Not(HasSubstr("\n"))));
  EXPECT_LT(std::string(error->what()).size(), 250u);
}

const std::string kDeep = std::string(1'000'000, '[') + std::string(1'000'000, ']');

INSTANTIATE_TEST_SUITE_P(
    Parts, HostileJson,
    ::testing::Values(
        Hostile{"{\"point", "\"point", "something else"}, Hostile{"w16_k8v8_chunk64", "w16", "here.point: 'w16'"},
        Hostile{"\"point\":\"w16_k8v8_chunk64\",", "", "wanted a field \"point\""},
        Hostile{"\"w16_k8v8_chunk64\"", "16", "here.point: wanted text, found 16"},
        Hostile{"\"done\"", "\"undone\"", "here.state: wanted \"done\" or \"failed\""},
        Hostile{"\"state\":\"done\",", "", "wanted a field \"state\""},
        Hostile{"{\"step\":7,\"seed\":1}", "[]", "here.regime: wanted an object, found array"},
        Hostile{"\"step\":7", "\"step\":7.5",
                "here.regime.step: wanted a whole number of at most 2147483647, found 7.5"},
        Hostile{"\"step\":7", "\"step\":3000000000", "here.regime.step"},
        Hostile{"\"step\":7", "\"step\":1e300", "step"}, Hostile{"\"step\":7", "\"step\":null", "here.regime.step"},
        Hostile{"\"seed\":1", "\"seed\":-1", "here.regime.seed"},
        Hostile{"\"seed\":1", "\"seed\":18446744073709551616", "here.regime.seed"},
        Hostile{"\"no\"", "null", "here.reason: wanted text"}, Hostile{"\"no\"", "\"\xff\"", "something else"},
        Hostile{"\"seconds\":2", "\"seconds\":\"2\"", "here.provenance.seconds: wanted a number"},
        Hostile{"\"seconds\":2", "\"seconds\":1e999", "something else"},
        Hostile{"\"value\":1.5", "\"value\":{}", "here.values.ppl.value: wanted a number"},
        Hostile{"\"samples\":9", "\"samples\":9223372036854775808", "here.values.ppl.samples"},
        Hostile{"{\"value\":1.5,\"samples\":9}", "true", "here.values.ppl: wanted an object"},
        Hostile{"[1,2]", "{}", "here.texts.ppl: wanted an array"}, Hostile{"[1,2]", "[1,false]", "here.texts.ppl[]"},
        Hostile{"\"no\"", kDeep, "here.reason: wanted text, found array"},
        Hostile{"\"no\"", std::string(1'000'000, '['), "something else"},
        Hostile{"\"ppl\":{", "\"" + std::string(100'000, 'p') + "\":{\"value\":[]},\"ppl\":{", "here.values.ppp"},
        Hostile{"\"ppl\":{", R"("a\nb":{"value":[]},"ppl":{)", R"(here.values.a\nb.value)"}));

TEST(MeasurementJson, CutAnywhereItIsRefused) {
  const std::string whole = to_json(example_measurement());
  for (size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_TRUE(error_of([&] { measurement_from_json(whole.substr(0, size), "test"); })) << size;
  }
}

TEST(RegimeKey, DistinguishesCircumstancesButNotFileNames) {
  const Regime regime = example_measurement().regime;
  Regime other = regime;
  other.model = "renamed.gguf";
  EXPECT_EQ(regime_key(other), regime_key(regime));
  std::vector<Regime> different(12, regime);
  different[0].model_hash = "0";
  different[1].context = 1;
  different[2].prefill = 1;
  different[3].scored = 1;
  different[4].step = 1;
  different[5].texts = 1;
  different[6].text_hash = "0";
  different[7].text_origin = "another";
  different[8].order = "pack-then-attend";
  different[9].seed = 3;
  different[10].reference = "0";
  different[11].calibration = "another";
  for (size_t i = 0; i < different.size(); ++i) {
    EXPECT_NE(regime_key(different[i]), regime_key(regime)) << i;
    for (size_t j = 0; j < i; ++j) EXPECT_NE(regime_key(different[i]), regime_key(different[j])) << i << " " << j;
  }
}

TEST(RegimeOf, WhatWeightsAreFittedToMattersToFittedWeightsAlone) {
  Regime regime = example_measurement().regime;
  regime.calibration = "a text";
  Point plain, fitted;
  plain.weights = "w4g128";
  fitted.weights = "w4g128.awq";
  EXPECT_EQ(regime_of(regime, plain).calibration, "");
  EXPECT_EQ(regime_of(regime, fitted), regime);
  EXPECT_EQ(model_key(regime, plain), regime.model_hash);
  EXPECT_NE(model_key(regime, fitted), regime.model_hash);
}

// Studies on disk hold these keys: if this fails, every search would start anew.
TEST(RegimeKey, StaysAsItIs) {
  EXPECT_EQ(regime_key(Regime{}), "1349cde127705c16");
  EXPECT_EQ(regime_key(example_measurement().regime), "e55afbd91bdaa632");
}

}  // namespace
}  // namespace kvpareto
