// Numbers, scales, labels, findings and tables, one by one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <clocale>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "report/findings.h"
#include "report/format.h"
#include "report/labels.h"
#include "report/svg.h"
#include "report/synthetic_study.h"

namespace kvpareto {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr double kMiB = 1 << 20;
const double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(Format, ErrorsDecideTheDigits) {
  EXPECT_EQ(with_error({0.005312, 0.00042, 8}), "0.0053 ± 0.0004");
  EXPECT_EQ(with_error({0.005312, 0.00012, 8}), "0.00531 ± 0.00012");
  EXPECT_EQ(with_error({1.234, 0.2, 8}), "1.2 ± 0.2");
  EXPECT_EQ(with_error({812.4, 31, 8}), "810 ± 30");
  EXPECT_EQ(with_error({0, 0, 8}), "0");
  EXPECT_EQ(with_error({0.5, kNaN, 1}), "0.500");
  EXPECT_EQ(with_error({kNaN, 0, 1}), "-");
}

TEST(Format, SignificantDigits) {
  EXPECT_EQ(significant(0.005312, 2), "0.0053");
  EXPECT_EQ(significant(0.0996, 2), "0.10");
  EXPECT_EQ(significant(1234.5, 3), "1230");
  EXPECT_EQ(significant(-0.5, 1), "-0.5");
  EXPECT_EQ(significant(100, 1), "100");
  EXPECT_EQ(significant(std::numeric_limits<double>::infinity(), 2), "-");
}

TEST(Format, TrimsWhatIsExact) {
  EXPECT_EQ(trimmed(0.1, 3), "0.1");
  EXPECT_EQ(trimmed(380, 5), "380");
  EXPECT_EQ(trimmed(12.5, 4), "12.5");
  EXPECT_EQ(trimmed(0, 4), "0");
}

TEST(Format, ErrorBarsWidenForFewSamples) {
  const auto eight = error_bar({1, 0.1, 8});
  ASSERT_TRUE(eight);
  EXPECT_NEAR(eight->high, 1 + 2.365 * 0.1, 1e-9);
  EXPECT_NEAR(error_bar({1, 0.1, 1000})->low, 1 - 1.96 * 0.1, 1e-9);
  EXPECT_NEAR(error_bar({1, 0.1, 2})->low, 0.9, 1e-9);
  EXPECT_THAT(error_bar_name({1, 0.1, 2}), HasSubstr("two"));
  EXPECT_FALSE(error_bar({1, 0, 8}));
  EXPECT_FALSE(error_bar({1, kNaN, 1}));
}

TEST(Format, SharesKeepAWidthAtTheEnds) {
  const auto all = share_interval95({1, 0, 40});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->high, 1);
  EXPECT_NEAR(all->low, 0.912, 0.002);  // Wilson's lower limit for 40 of 40
  EXPECT_FALSE(share_interval95({1.2, 0, 40}));
}

TEST(Format, IsTheSameInEveryLocale) {
  const char* german = std::setlocale(LC_ALL, "de_DE.UTF-8");
  const std::string text = significant(0.5, 1) + px(1.25);
  std::setlocale(LC_ALL, "C");
  EXPECT_EQ(text, "0.51.25") << (german == nullptr ? "" : german);
}

TEST(Escape, TextIsNeverMarkup) {
  EXPECT_EQ(escape_html("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escape_html("\x01\x7f"), "  ");
  EXPECT_EQ(escape_html("\xc3\xbc±"), "ü±");
  EXPECT_EQ(escape_html("\xc3"), "\xef\xbf\xbd");
  EXPECT_EQ(escape_html("\xc0\x80"), "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(Scale, MapsEndsAndWidensNothing) {
  const Scale linear = Scale::linear(10, 20, 100, 0);
  EXPECT_DOUBLE_EQ(linear(10), 100);
  EXPECT_DOUBLE_EQ(linear(15), 50);
  const Scale log = Scale::logarithmic(0.01, 1, 0, 100);
  EXPECT_NEAR(log(0.1), 50, 1e-9);
  EXPECT_NEAR(Scale::linear(7, 7, 0, 100)(7), 50, 1e-9);
  EXPECT_TRUE(std::isfinite(Scale::linear(0, 0, 0, 1)(0)));
}

TEST(Scale, TicksAreRound) {
  EXPECT_THAT(round_ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(byte_ticks(290 * kMiB, 345 * kMiB, 4), ElementsAre(300 * kMiB, 320 * kMiB, 340 * kMiB));
  EXPECT_EQ(decade_ticks(0.001, 1, false).size(), 4u);
  EXPECT_EQ(decade_ticks(0.1, 1, true).size(), 10u);
  EXPECT_TRUE(round_ticks(1, 1, 5).empty());
  EXPECT_DOUBLE_EQ(round_down(0.0234), 0.02);
  EXPECT_DOUBLE_EQ(round_up(0.0234), 0.05);
}

TEST(Labels, NeverOverlap) {
  std::vector<Label> labels;
  std::vector<Box> points;
  for (int i = 0; i < 40; ++i) {
    const double x = 40 + 12 * i, y = 60 + 5 * (i % 7);
    labels.push_back({x, y, "k8v4g32", 12, i < 2});
    points.push_back({x - 4, y - 4, x + 4, y + 4});
  }
  const Box bounds{0, 0, 600, 200};
  const auto places = place_labels(labels, points, {}, bounds);
  int placed = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (!places[i]) continue;
    ++placed;
    EXPECT_TRUE(places[i]->box.inside(bounds));
    for (size_t j = 0; j < points.size(); ++j) EXPECT_FALSE(places[i]->box.overlaps(points[j]));
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(places[j] && places[i]->box.overlaps(places[j]->box));
  }
  EXPECT_TRUE(places[0] && places[1]) << "required labels have a place";
  EXPECT_GT(placed, 5);
  EXPECT_LT(placed, 40);
}

TEST(Findings, ReadsSchemesWithTheirGroups) {
  EXPECT_EQ(scheme_bits("k8v4")->variant, "g64");
  EXPECT_EQ(scheme_bits("k8v4g32")->variant, "g32");
  EXPECT_EQ(scheme_bits("k8g32v4g128")->variant, "keys g32, values g128");
  EXPECT_EQ(scheme_bits("k16v16")->variant, "");
  EXPECT_EQ(scheme_bits("k8v4g32")->k, 8);
  EXPECT_EQ(scheme_bits("k16v4g32")->variant, "g32");
  EXPECT_EQ(scheme_bits("k4t32.pre.v4g32.had")->variant, "keys t32.pre, values g32.had");
  EXPECT_EQ(scheme_bits("k4.pre.v4g32.had.recent64.sink4")->variant, "keys g32.pre, values g32.had, recent64.sink4");
  EXPECT_EQ(scheme_bits("k4t32v4")->variant, "t32");
  EXPECT_EQ(scheme_bits("k8v8p")->variant, "p");
  EXPECT_EQ(scheme_bits("k4b32x64v4g64")->variant, "keys b32x64, values g64");
  EXPECT_EQ(scheme_bits("kq8vq4")->variant, "GGUF blocks");
  EXPECT_EQ(scheme_bits("kq8vq4")->v, 4);
  EXPECT_EQ(scheme_bits("k8vq4")->variant, "keys g64, values GGUF blocks");
  EXPECT_EQ(scheme_bits("k4v4g64.atp")->variant, "g64, atp");
  EXPECT_FALSE(scheme_bits("k4v4,0-1:k8"));
  EXPECT_FALSE(scheme_bits("int8"));
  EXPECT_FALSE(scheme_bits("kv"));
  EXPECT_FALSE(scheme_bits(""));
}

TEST(Findings, BitsOfEveryLayer) {
  const auto bits = bits_by_layer("k4t32.pre.v4g32.had.recent64.sink4,0-1:k8,3:k8.plain.vq8,4:k4t64.v3g64.had,5:v2", 5);
  ASSERT_EQ(bits.size(), 6u);
  EXPECT_EQ(bits[0], (LayerBits{8, 4}));
  EXPECT_EQ(bits[1], (LayerBits{8, 4}));
  EXPECT_EQ(bits[2], (LayerBits{4, 4}));
  EXPECT_EQ(bits[3], (LayerBits{8, 8, "", "GGUF blocks"}));
  EXPECT_EQ(bits[4], (LayerBits{4, 3, "t64", "g64"}));
  EXPECT_EQ(bits[5], (LayerBits{4, 2}));
  EXPECT_EQ(bits_by_layer("kq8vq4", 2), (std::vector<LayerBits>{{8, 4}, {8, 4}}));
  for (const char* odd : {"", "int8", "k4v4,", "k4v4,x:k8", "k4v4,3-1:k8", "k4v4,0:", "k4v4,0:x8", "k4v4,9999999:k8",
                          "k4v4,0:k99", "k0v4"}) {
    EXPECT_TRUE(bits_by_layer(odd, 4).empty()) << odd;
  }
}

TEST(Findings, NameTheCauseOfWhatIsBroken) {
  EXPECT_THAT(common_cause(read_study(synthetic_study(Like::kCliff))), HasSubstr("keys of 4 bits or fewer"));
  ReportInput input;
  input.measurements = {synthetic_point("k8v8", 256, 300 * kMiB, 2), synthetic_point("k4v4", 256, 280 * kMiB, 0.01)};
  EXPECT_EQ(common_cause(read_study(input)), "") << "8 bits broken and 4 not: bits are not the cause";
}

TEST(Findings, KneeBelowTheLimitIsRecommended) {
  const Findings findings = read_study(synthetic_study(Like::kSmall));
  ASSERT_TRUE(findings.recommended && findings.baseline);
  EXPECT_FALSE(findings.broken(*findings.recommended));
  EXPECT_EQ(findings.points[*findings.baseline].point.kv, "k16v16");
  EXPECT_EQ(findings.chunk, 256);
}

TEST(Findings, AnswerTheQuestionThatWasAsked) {
  ReportInput input = synthetic_study(Like::kSmall);
  const Findings plain = read_study(input);
  const double budget = plain.cost(plain.front.members.front());
  input.goal = Goal::kBestQuality;
  input.limits.most_bytes = budget;
  input.max_loss = 1e9;
  const Findings within = read_study(input);
  ASSERT_TRUE(within.recommended);
  EXPECT_LE(within.cost(*within.recommended), budget);
  input.limits.most_bytes = 1;
  EXPECT_FALSE(read_study(input).recommended);
}

TEST(Findings, SayHowSureTheFrontIs) {
  ReportInput input;
  for (const auto& [kv, bytes, texts] : {std::tuple("k16v16", 400.0, std::vector<double>{0, 0, 0}),
                                         std::tuple("k8v8", 300.0, std::vector<double>{.01, .012, .011}),
                                         std::tuple("k4v4", 200.0, std::vector<double>{.1, .2, .3})}) {
    input.measurements.push_back(synthetic_point(kv, 256, bytes * kMiB, mean(texts)));
    input.measurements.back().texts["kld_mean"] = texts;
  }
  const Findings findings = read_study(input);
  EXPECT_EQ(findings.confidence.texts, 3);
  EXPECT_THAT(tooltip(findings, 1), HasSubstr("probability 1.00"));
  EXPECT_THAT(confidence_in_words(findings), AllOf(HasSubstr("3 of them"), HasSubstr("MiB")));
  EXPECT_THAT(front_table(input.measurements, findings.front), HasSubstr("on front"));
}

TEST(Table, FormatsAgree) {
  const ReportInput input = synthetic_study(Like::kSmall);
  const Front front = find_front(input.measurements);
  const auto json = nlohmann::json::parse(table(input.measurements, front, "json"));
  ASSERT_EQ(json.size(), input.measurements.size());
  EXPECT_EQ(json[0]["kv"], input.measurements[0].point.kv);
  EXPECT_DOUBLE_EQ(json[3]["kld_mean"], input.measurements[3].value("kld_mean"));
  EXPECT_EQ(json.back()["state"], "failed");
  EXPECT_TRUE(json.back()["kld_mean"].is_null());
  EXPECT_EQ(json[1]["dominated"], static_cast<bool>(front.dominated[1]));
  const auto lines_of = [&](const char* format) {
    return split(table(input.measurements, front, format), '\n').size() - 1;
  };
  EXPECT_EQ(lines_of("csv"), json.size() + 1);
  EXPECT_EQ(lines_of("md"), json.size() + 2);
  EXPECT_EQ(lines_of("jsonl"), json.size());
  const auto csv = split(table(input.measurements, front, "csv"), '\n');
  EXPECT_THAT(csv[0], StartsWith("model_filename,n_ctx,n_prompt,point,"));
  EXPECT_EQ(std::count(csv[0].begin(), csv[0].end(), ','), std::count(csv[1].begin(), csv[1].end(), ','));
}

TEST(Table, QuotesWhatNeedsIt) {
  Measurement m = synthetic_point("k8v4", 256, 300 * kMiB, 0.01);
  m.state = State::kFailed;
  m.reason = "a \"b\", c|d\ne\xff";
  const std::vector<Measurement> list = {m};
  EXPECT_THAT(table(list, find_front(list), "csv"), HasSubstr("\"a \"\"b\"\", c|d\ne"));
  EXPECT_THAT(table(list, find_front(list), "md"), HasSubstr("c\\|d e"));
  EXPECT_NO_THROW(table(list, find_front(list), "jsonl"));
  EXPECT_EQ(table({}, {}, "json"), "[]\n");
  EXPECT_EQ(table({}, {}, "csv"), "");
}

TEST(Table, UnknownFormatNamesTheNearest) {
  try {
    table({}, {}, "jsnl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("nearest is jsonl"));
  }
}

TEST(FrontTable, BaselineFirstThenCheapest) {
  const ReportInput input = synthetic_study(Like::kSmall);
  const std::string text = front_table(input.measurements, find_front(input.measurements));
  const auto rows = split(text, '\n');
  ASSERT_GE(rows.size(), 4u);
  EXPECT_THAT(rows[0], StartsWith("scheme"));
  EXPECT_THAT(rows[1], StartsWith("k16v16"));
  EXPECT_THAT(rows[1], HasSubstr("baseline"));
  EXPECT_THAT(text, HasSubstr("<- knee"));
  for (const std::string& row : rows) {
    const auto width = std::count_if(row.begin(), row.end(), [](char c) { return (c & 0xc0) != 0x80; });
    EXPECT_LE(width, 100) << row;
  }
}

TEST(FrontTable, StaysNarrowWithLongNames) {
  const std::vector<Measurement> list = {synthetic_point(std::string(300, 'x'), 256, 300 * kMiB, 0.01)};
  for (const std::string& row : split(front_table(list, find_front(list)), '\n')) EXPECT_LE(row.size(), 110u);
  EXPECT_THAT(front_table({}, {}), HasSubstr("no front yet"));
}

}  // namespace
}  // namespace kvpareto
