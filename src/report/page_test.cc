// The page as a whole: well-formed, self-contained, and right on studies from empty to hostile.

#include "report/page.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <regex>

#include "base/file.h"
#include "report/charts.h"
#include "report/svg.h"
#include "report/synthetic_study.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kMiB = 1 << 20;

bool starts(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

// Empty if every tag is closed in order, every attribute quoted and every & an entity; else what is wrong, with the
// place. The page is written so that it is XML but for its doctype.
std::string malformed(std::string_view html) {
  std::vector<std::string> open;
  const auto near = [&](size_t i) { return " at: " + std::string(html.substr(i, 60)); };
  static const std::regex kTag("<(/?)([a-zA-Z][a-zA-Z0-9]*)((\\s+[a-zA-Z][-a-zA-Z0-9:]*=\"[^\"<>]*\")*)\\s*(/?)>");
  static const std::regex kEntity("&(amp|lt|gt|quot|#39);");
  for (size_t i = 0; i < html.size();) {
    if (html[i] == '&') {
      std::cmatch match;
      const bool entity = std::regex_search(html.data() + i, html.data() + html.size(), match, kEntity,
                                            std::regex_constants::match_continuous);
      if (!entity) return "bare &" + near(i);
      i += static_cast<size_t>(match.length());
      continue;
    }
    if (html[i] == '>') return "bare >" + near(i);
    if (html[i] != '<') {
      ++i;
      continue;
    }
    if (starts(html.substr(i), "<!DOCTYPE html>")) {
      i += 15;
      continue;
    }
    const size_t end = html.find('>', i);
    if (end == std::string_view::npos) return "open end" + near(i);
    const std::string tag(html.substr(i, end - i + 1));
    std::smatch match;
    if (!std::regex_match(tag, match, kTag)) return "bad tag" + near(i);
    const std::string name = match[2];
    i = end + 1;
    if (match[5] == "/") continue;
    if (match[1] == "/") {
      if (open.empty() || open.back() != name) return "unexpected </" + name + near(end);
      open.pop_back();
      continue;
    }
    open.push_back(name);
    if (name == "script" || name == "style") i = html.find("</" + name, i);
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

// What holds for every page, whatever the study.
void expect_sound(const ReportInput& input) {
  const std::string page = html_report(input);
  EXPECT_EQ(malformed(page), "");
  std::string outside = page;
  const std::string xmlns = "xmlns=\"http://www.w3.org/2000/svg\"";
  for (size_t at; (at = outside.find(xmlns)) != std::string::npos;) outside.erase(at, xmlns.size());
  for (const char* word : {"http:", "https:", " src=", "@import", "url(http", "url(//", "<link", "<iframe", "<img"}) {
    EXPECT_THAT(outside, Not(HasSubstr(word)));
  }
  const std::string body = page.substr(page.find("<body>"), page.find("<script>") - page.find("<body>"));
  static const std::regex kNotANumber("(^|[^A-Za-z])-?(nan|inf|NaN|Infinity)([^A-Za-z]|$)");
  std::smatch match;
  EXPECT_FALSE(std::regex_search(body, match, kNotANumber))
      << match.prefix().str().substr(match.prefix().length() > 80 ? static_cast<size_t>(match.prefix().length() - 80)
                                                                  : 0)
      << match.str();
}

std::string draw(const ReportInput& input, const std::string& name) {
  const Findings findings = read_study(input);
  for (const Chart& chart : charts()) {
    if (chart.name == name) return chart.draw(findings).figure;
  }
  ADD_FAILURE() << "no chart " << name;
  return {};
}

ReportInput study_of(std::vector<Measurement> measurements) {
  ReportInput input;
  input.measurements = std::move(measurements);
  return input;
}

Measurement failure(const std::string& reason) {
  Measurement m = synthetic_point("k4v4", 256, 300 * kMiB, 0.03);
  m.values.clear();
  m.state = State::kFailed;
  m.reason = reason;
  return m;
}

TEST(Checker, FindsWhatIsWrong) {
  EXPECT_EQ(malformed("<p class=\"a\">1 &lt; 2<br/></p>"), "");
  EXPECT_NE(malformed("<p>"), "");
  EXPECT_NE(malformed("<p></b>"), "");
  EXPECT_NE(malformed("<p>a & b</p>"), "");
  EXPECT_NE(malformed("<p class=a></p>"), "");
  EXPECT_NE(malformed("<p title=\"<\"></p>"), "");
}

// With KVPARETO_REPORT_OUT set to a folder the pages stay there to be looked at.
TEST(Page, OrdinaryStudiesAreSound) {
  const char* folder = std::getenv("KVPARETO_REPORT_OUT");
  for (const Like like : {Like::kSmall, Like::kCliff}) {
    const ReportInput input = synthetic_study(like);
    expect_sound(input);
    const std::string path = std::string(folder == nullptr ? testing::TempDir() : std::string(folder) + "/") +
                             (like == Like::kSmall ? "small.html" : "cliff.html");
    write_file(path, html_report(input));
    EXPECT_EQ(read_file(path), html_report(input)) << "the page must be the same every time";
  }
}

TEST(Page, EveryChartDrawsAnOrdinaryStudy) {
  const ReportInput input = synthetic_study(Like::kSmall);
  const std::string page = html_report(input);
  for (const Chart& chart : charts()) {
    EXPECT_THAT(draw(input, chart.name), HasSubstr("<svg")) << chart.name;
    EXPECT_THAT(page, HasSubstr("<section id=\"" + std::string(chart.name) + "\">"));
  }
}

TEST(Page, LayersShowBitsAndWhatStandsOut) {
  ReportInput input = synthetic_study(Like::kCliff);
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Layer 8, K int4"));
  EXPECT_THAT(html_report(input), HasSubstr("More than 5 times the median:</strong> K int4 in layers 0 ("));
  input.measurements = {synthetic_point("k16v16", 256, 360 * kMiB, 0),
                        synthetic_point("k4v2,0:k8,8-9:v4,20:k4t32,29:k8t32.pre.vq8", 256, 300 * kMiB, 0.004),
                        synthetic_point("k2v2", 256, 295 * kMiB, 2)};
  expect_sound(input);
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Keys of layer 0\nStored with\t8 bits"));
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Values of layers 8–9\nStored with\t4 bits"));
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Values of layers 10–28\nStored with\t2 bits"));
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Keys of layer 20\nStored with\t4 bits, t32"));
  EXPECT_THAT(draw(input, "layers"), HasSubstr("Keys of layers 21–28\nStored with\t4 bits<"));
}

TEST(Page, TellsWhenAnotherModelIsTheReference) {
  Measurement m = synthetic_point("k16v16", 256, 360 * kMiB, 0.01);
  EXPECT_THAT(html_report(study_of({m})), Not(HasSubstr("another model")));
  m.regime.reference = "0123456789abcdef";
  const std::string page = html_report(study_of({m}));
  EXPECT_THAT(page, HasSubstr("the one that another model gives at 16 bits"));
  EXPECT_THAT(page, HasSubstr("0123456789abcdef"));
}

TEST(Page, TellsWhatWeightsWereFittedToWhereThereAreSome) {
  Measurement m = synthetic_point("k16v16", 256, 360 * kMiB, 0.01);
  m.regime.calibration = "32 of mine.txt";
  EXPECT_THAT(html_report(study_of({m})), Not(HasSubstr("32 of mine.txt")));
  m.point.weights = "w4g128.awq";
  EXPECT_THAT(html_report(study_of({m})), HasSubstr("32 of mine.txt"));
}

TEST(Page, TheSentenceNamesWeightsThatAreNotExact) {
  Measurement rounded = synthetic_point("k8v8g64", 256, 200 * kMiB, 0.005);
  rounded.point.weights = "w8g128e8";
  ReportInput input = study_of({synthetic_point("k16v16", 256, 360 * kMiB, 0), rounded});
  input.goal = Goal::kLeastMemory;
  const std::string page = html_report(input);
  EXPECT_THAT(page, HasSubstr("w8g128e8 k8v8g64</em> needs"));
  EXPECT_THAT(page, HasSubstr("than 16 bits in all"));
}

// Weights that differ by layer are long: whole in the command, in tooltips and for sorting, cut where they are read.
TEST(Page, LongWeightsAreCutWhereThereIsNoRoom) {
  Measurement mixed = synthetic_point("k8v8g64", 256, 200 * kMiB, 0.005);
  mixed.point.weights = "w8g128e8";
  for (int layer = 0; layer < 12; ++layer) mixed.point.weights += fmt::format(",{}.down:w4g128", 2 * layer);
  ReportInput input = study_of({synthetic_point("k16v16", 256, 360 * kMiB, 0), mixed});
  input.goal = Goal::kLeastMemory;
  const std::string page = html_report(input);
  EXPECT_THAT(page, HasSubstr("w8g128e8,0.down:w4g128,2.do… k8v8g64</em> needs"));
  EXPECT_THAT(page, HasSubstr(fmt::format("<td data-v=\"{0}\" title=\"{0}\">w8g128e8,0.down:w4g128,2.do…</td>",
                                          mixed.point.weights)));
  EXPECT_THAT(page, HasSubstr(fmt::format("-w &#39;{}&#39;", mixed.point.weights)));
}

TEST(Page, FittedWeightsStandBesideOthers) {
  Measurement fitted = synthetic_point("k16v16", 256, 200 * kMiB, 0.05);
  fitted.point.weights = "w4g128.awq";
  fitted.regime.calibration = "32 of mine.txt";
  ReportInput input = study_of({synthetic_point("k16v16", 256, 360 * kMiB, 0), fitted});
  EXPECT_EQ(read_study(input).points.size(), 2u);
  input.measurements.back().regime.context = 99;
  EXPECT_EQ(read_study(input).left_out, 1u);
}

TEST(Page, SingleLayersAlone) {
  ReportInput input;
  input.probes = synthetic_study(Like::kCliff).probes;
  expect_sound(input);
  EXPECT_THAT(html_report(input), HasSubstr("no whole configuration"));
  EXPECT_THAT(draw(input, "weights"), HasSubstr("Layer 2, down w4g128\nDivergence\t0.0"));
  EXPECT_THAT(html_report(input), HasSubstr("down w4g128 in layer 2 ("));
  std::erase_if(input.probes, [](const Measurement& m) { return m.point.weights == "w16"; });
  expect_sound(input);
  EXPECT_THAT(draw(input, "layers"), testing::IsEmpty());
  input.probes.resize(1);
  expect_sound(input);
}

TEST(Page, EmptyStudySaysSo) {
  const ReportInput input;
  expect_sound(input);
  EXPECT_THAT(html_report(input), HasSubstr("no measurements yet"));
  EXPECT_THAT(html_report(input), Not(HasSubstr("<svg")));
}

TEST(Page, OnePointAlone) {
  expect_sound(study_of({synthetic_point("k16v16", 256, 360 * kMiB, 0)}));
  const ReportInput lossy = study_of({synthetic_point("k8v4", 256, 300 * kMiB, 0.005, 1)});
  expect_sound(lossy);
  EXPECT_THAT(html_report(lossy), HasSubstr("peaks at 300.0 MiB"));
}

TEST(Page, AllFailedListsReasons) {
  const ReportInput input = study_of({failure("not enough memory")});
  expect_sound(input);
  EXPECT_THAT(html_report(input), HasSubstr("not enough memory"));
  EXPECT_THAT(html_report(input), Not(HasSubstr("kvpareto run")));
}

TEST(Page, HostileTextStaysText) {
  const std::string evil = "</script><script>alert(1)</script>\"'&\x01\xff\xc3(\xed\xa0\x80|\n";
  Measurement m = synthetic_point("k8v4", 256, 300 * kMiB, 0.01);
  m.regime.model = evil;
  m.regime.text_origin = evil;
  m.regime.order = evil;
  m.provenance.device = evil;
  m.point.kv = evil;
  m.point.weights = evil;
  Measurement failed = m;
  failed.state = State::kFailed;
  failed.reason = evil;
  ReportInput input = study_of({m, failed});
  input.curves = {{evil, {1024, 2048}, {1e6, 1e6}, {1e6, 2e6}, {1e3, 1e3}, {1e3, 1e3}}};
  expect_sound(input);
  const std::string page = html_report(input);
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(page, Not(HasSubstr("<script>alert(1)")));
  EXPECT_THAT(page, Not(HasSubstr("\xff")));
}

TEST(Page, OddNumbersNeverAppear) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  std::vector<Measurement> list;
  for (const double odd : {nan, inf, -inf, 0.0, -1e-12, 1e300, 5e-324}) {
    for (const char* figure : {"peak_bytes", "kld_mean", "kv_bytes", "needle", "prefill_ts", "same_top"}) {
      Measurement m = synthetic_point("k8v8", 128 << (list.size() % 4), 300 * kMiB + 1e6 * list.size(), 0.01);
      m.values["needle"] = {0.5, 0.1, 20};
      m.values[figure] = {odd, odd, 8};
      list.push_back(m);
    }
  }
  expect_sound(study_of(list));
  for (const Measurement& m : list) expect_sound(study_of({m}));
  ReportInput layers = synthetic_study(Like::kCliff);
  for (size_t i = 0; i < list.size(); ++i) layers.probes[i].values["kld_mean"] = list[i].values["kld_mean"];
  expect_sound(layers);
  list.insert(list.begin(), synthetic_point("k16v16", 256, 360 * kMiB, 0));
  ReportInput input = study_of(list);
  input.curves = {{"k8v8", {1024, 2048}, {nan, 1}, {1, inf}, {1, 1}, {1, 1}}, {"k8v8", {1024}, {}, {}, {}, {}}};
  expect_sound(input);
}

TEST(Page, IdenticalMemoryAndIdenticalLoss) {
  expect_sound(study_of({synthetic_point("k8v8", 256, 300 * kMiB, 0.01), synthetic_point("k8v4", 256, 300 * kMiB, 0.02),
                         synthetic_point("k4v4", 256, 300 * kMiB, 0.01)}));
}

TEST(Page, AnswerNamesSavingAndError) {
  const std::string page = html_report(
      study_of({synthetic_point("k16v16", 256, 400 * kMiB, 0), synthetic_point("k8v4", 256, 300 * kMiB, 0.005),
                synthetic_point("k2v2", 256, 290 * kMiB, 3)}));
  EXPECT_THAT(page, HasSubstr("k8v4</em> needs"));
  EXPECT_THAT(page, HasSubstr("100.0 MiB less"));
  EXPECT_THAT(page, HasSubstr("−25 %"));
  EXPECT_THAT(page, HasSubstr("0.0050<span class=\"pm\"> ± 0.0003"));
  EXPECT_THAT(page, HasSubstr("kvpareto run -m SmolLM2-135M-Instruct.Q4_1.gguf -c 4608 --kv k8v4 -ub 256"));
}

TEST(Page, ChoicesAreTheCheapestBelowEachLimit) {
  const std::string page = html_report(
      study_of({synthetic_point("k16v16", 256, 400 * kMiB, 0), synthetic_point("k8v8", 256, 350 * kMiB, 0.0004),
                synthetic_point("k8v4", 256, 320 * kMiB, 0.006), synthetic_point("k4v4", 256, 300 * kMiB, 0.05)}));
  EXPECT_THAT(page, HasSubstr("<td>below 0.001</td><td>k8v8</td>"));
  EXPECT_THAT(page, HasSubstr("<td>below 0.01</td><td>k8v4</td>"));
  EXPECT_THAT(page, HasSubstr("<td>below 0.1</td><td>k4v4</td>"));
}

TEST(Page, BrokenPointsAreNeverRecommended) {
  const std::string page = html_report(
      study_of({synthetic_point("k4v4", 256, 300 * kMiB, 1.2), synthetic_point("k2v2", 256, 280 * kMiB, 3)}));
  EXPECT_THAT(page, HasSubstr("No measured configuration"));
  EXPECT_THAT(page, Not(HasSubstr("kvpareto run")));
}

TEST(Page, CliffIsTold) {
  const ReportInput input = synthetic_study(Like::kCliff);
  const std::string page = html_report(input);
  EXPECT_THAT(page, HasSubstr("A cliff:"));
  EXPECT_THAT(page, HasSubstr("going from 8- to 4-bit keys"));
  EXPECT_THAT(page, HasSubstr("with keys of 4 bits or fewer"));
  EXPECT_THAT(draw(input, "bits"), HasSubstr("hatched"));
}

TEST(Page, TwoTextsPromiseNoInterval) {
  const ReportInput input =
      study_of({synthetic_point("k16v16", 256, 400 * kMiB, 0, 2), synthetic_point("k8v8", 256, 350 * kMiB, 0.0004, 2),
                synthetic_point("k8v4", 256, 330 * kMiB, 0.005, 2)});
  const std::string page = html_report(input);
  EXPECT_THAT(page, HasSubstr("range of the two samples"));
  EXPECT_THAT(page, HasSubstr("only two texts"));
  EXPECT_THAT(page, Not(HasSubstr("95 % interval")));
}

TEST(Page, OtherRegimesAreLeftOutAndTold) {
  Measurement other = synthetic_point("k8v4", 256, 200 * kMiB, 0.0001);
  other.regime.order = "attend-then-pack";
  const std::string page = html_report(study_of({synthetic_point("k16v16", 256, 400 * kMiB, 0), other}));
  EXPECT_THAT(page, HasSubstr("1 measurements made under other circumstances"));
  EXPECT_THAT(page, Not(HasSubstr("k8v4")));
}

TEST(Command, QuotesForTheShell) {
  Measurement m;
  m.regime.model = "it's a $(model).gguf";
  EXPECT_THAT(run_command(m, m.regime.model), HasSubstr("-m 'it'\\''s a $(model).gguf' "));
  m.regime.model = "-rf";
  EXPECT_THAT(run_command(m, m.regime.model), HasSubstr("-m '-rf' "));
}

TEST(Command, NamesTheTextThatWeightsWereFittedTo) {
  Measurement m;
  m.point.weights = "w4g128.awq";
  EXPECT_THAT(run_command(m, m.regime.model), Not(HasSubstr("--calibration")));
  m.provenance.calibration_file = "my notes.txt";
  EXPECT_THAT(run_command(m, m.regime.model), HasSubstr(" -w w4g128.awq --calibration 'my notes.txt' "));
}

TEST(Quantisation, IsReadFromNames) {
  EXPECT_EQ(quantisation_in_name("SmolLM2-135M-Instruct.Q4_1.gguf"), "Q4_1");
  EXPECT_EQ(quantisation_in_name("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"), "Q4_K_M");
  EXPECT_EQ(quantisation_in_name("model-awq"), "AWQ");
  EXPECT_EQ(quantisation_in_name("Llama-3.2-3B-bf16.gguf"), "");
  EXPECT_EQ(quantisation_in_name(std::string(100000, 'Q')), "");
}

}  // namespace
}  // namespace kvpareto
