#include "cli/task_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text.h"
#include "cli/output.h"
#include "report/format.h"
#include "study/comparison.h"

namespace kvpareto {
namespace {
using Json = nlohmann::ordered_json;

constexpr size_t kDepths = 5;
constexpr size_t kMostRegressions = 5;  // named in a line

bool has_tasks(const Measurement& m) { return !m.samples.empty(); }

double in_points(const Figure& figure, double value) { return figure.unit == "fraction" ? 100 * value : value; }

// A signed number in the figure's unit for people: points for shares.
std::string signed_text(const Figure& figure, double value) {
  return figure.unit == "fraction" ? fmt::format("{:+.1f}", 100 * value) : fmt::format("{:+.4f}", value);
}

std::string score_text(const Figure& figure, const Estimate& estimate) {
  const double value = in_points(figure, estimate.value), error = in_points(figure, estimate.standard_error);
  const int digits = figure.unit == "fraction" ? 1 : figure.unit.empty() ? 2 : 4;
  if (std::isnan(error)) return fmt::format("{:.{}f}", value, digits);
  return fmt::format("{:.{}f} ± {:.{}f}", value, digits, error, digits);
}

std::string verdict(const Figure& figure, const Comparison& c) {
  if (c.tie()) return "tie";
  return (c.difference.value > 0) == (figure.better == Better::kMore) ? "better" : "worse";
}

std::vector<std::string> comparison_cells(const Figure& figure, const Measurement& m,
                                          const std::vector<Measurement>& measured) {
  const Measurement* baseline = baseline_of(m, measured);
  if (baseline == &m) return {"", "", "baseline"};
  const auto c = baseline == nullptr ? std::nullopt : compare(*baseline, m, figure);
  if (!c) return {"", "", ""};
  return {signed_text(figure, c->difference.value),
          fmt::format("{} to {}", signed_text(figure, c->interval.low), signed_text(figure, c->interval.high)),
          verdict(figure, *c)};
}

// Every comparison of a task's main score with the baseline.
template <typename Visit>
void each_comparison(const std::vector<Measurement>& measured, const std::string& name, Visit visit) {
  const Figure& figure = *find_figure(name);
  for (const Measurement& m : measured) {
    const Measurement* baseline = baseline_of(m, measured);
    if (baseline == nullptr || baseline == &m) continue;
    if (const auto c = compare(*baseline, m, figure)) visit(m, figure, *c);
  }
}

// The main score of every sample of task `t`.
template <typename Visit>
void each_score(const TaskSet& tasks, size_t t, const Measurement& m, Visit visit) {
  const auto scores = m.texts.find(tasks.task(t).name);
  if (scores == m.texts.end()) return;
  for (size_t i = 0; i < scores->second.size(); ++i) visit(tasks.questions(t)[i].sample, scores->second[i]);
}

void describe(const Question& question, const SampleResult& result, const Tokenizer& tokenizer, Json& line) {
  const std::vector<int32_t>& tokens = question.prompt.tokens;
  line["sample"] = result.sample;
  line["part"] = question.sample.part;
  line["prompt_hash"] = fingerprint(hash_bytes(tokens.data(), tokens.size() * sizeof(int32_t)));
  line["target_hash"] = fingerprint(hash_text(question.sample.gold));
  line["shortened"] = question.prompt.shortened;
  line["target"] = question.sample.gold;
  line["references"] = question.sample.references;
  line["answer"] = result.answer;
  for (const auto& [figure, value] : result.scores) line[figure] = std::isfinite(value) ? Json(value) : Json(nullptr);
  line["prompt"] = tokenizer.decode(tokens, true);
  line["prompt_tokens"] = tokens;
  line["target_tokens"] = question.prompt.gold;
  if (!question.prompt.choices.empty()) line["choices_tokens"] = question.prompt.choices;
}

}  // namespace

const Measurement* baseline_of(const Measurement& m, const std::vector<Measurement>& measured) {
  const Measurement* found = nullptr;
  const auto rank = [&](const Point& point) {
    return 4 * (point.weights == Point().weights) + 2 * (point.weights == m.point.weights) +
           (point.chunk == m.point.chunk);
  };
  for (const Measurement& other : measured) {
    if (other.point.kv != Point().kv || !has_tasks(other) || rank(other.point) < 2) continue;
    if (found == nullptr || rank(other.point) > rank(found->point)) found = &other;
  }
  return found;
}

std::string task_table(const std::vector<Measurement>& measured) {
  std::vector<std::vector<std::string>> rows = {
      {"score", "unit", "weights", "KV", "chunk", "value", "samples", "paired difference", "95 % interval", ""}};
  for (const Figure& figure : figures()) {
    if (figure.task.empty()) continue;
    for (const Measurement& m : measured) {
      const auto found = m.values.find(figure.name);
      if (found == m.values.end()) continue;
      std::vector<std::string> row = {figure.label,
                                      figure.unit == "fraction" ? "%" : figure.unit,
                                      m.point.weights,
                                      m.point.kv,
                                      std::to_string(m.point.chunk),
                                      score_text(figure, found->second),
                                      std::to_string(found->second.samples)};
      for (std::string& cell : comparison_cells(figure, m, measured)) row.push_back(std::move(cell));
      rows.push_back(std::move(row));
    }
  }
  return rows.size() == 1 ? "" : markdown(rows);
}

std::string power_lines(const std::vector<Measurement>& measured) {
  std::string text;
  for (const TaskFacts& task : task_facts()) {
    const Figure& figure = *find_figure(task.name);
    if (figure.unit != "fraction") continue;
    double deviation = 0;
    bool paired = false;
    each_comparison(measured, task.name, [&](const Measurement&, const Figure&, const Comparison& c) {
      deviation = std::max(deviation, c.deviation);
      paired = true;
    });
    if (!paired || deviation == 0) {
      // Unpaired, and nothing changed: the spread of the scores themselves, an upper bound.
      for (const Measurement& m : measured) {
        const auto found = m.values.find(task.name);
        if (found == m.values.end() || !(found->second.standard_error > 0)) continue;
        const double root = std::sqrt(static_cast<double>(found->second.samples));
        deviation = std::max(deviation, found->second.standard_error * root);
      }
      paired = false;
    }
    if (deviation == 0) continue;
    text += fmt::format(
        "{}: telling a difference of 1 point takes {} samples, of 3 points {} (80 % of the time; from the "
        "spread of {})\n",
        task.label, samples_needed(deviation, 0.01), samples_needed(deviation, 0.03),
        paired ? "the differences here" : "single scores, which is too many for paired differences");
  }
  return text;
}

std::string regression_lines(const std::vector<Measurement>& measured) {
  std::string text;
  for (const TaskFacts& task : task_facts()) {
    each_comparison(measured, task.name, [&](const Measurement& m, const Figure& figure, const Comparison& c) {
      if (c.regressions.empty()) return;
      const size_t shown = std::min(kMostRegressions, c.regressions.size());
      const std::vector<std::string> first(c.regressions.begin(),
                                           c.regressions.begin() + static_cast<std::ptrdiff_t>(shown));
      text +=
          fmt::format("{}, {}: {} samples worse, {} better; worst: {}{}\n", figure.label, m.point.kv,
                      c.regressions.size(), c.improved, join(first, " "), shown < c.regressions.size() ? " ..." : "");
    });
  }
  return text;
}

std::string part_table(const TaskSet& tasks, const std::vector<Measurement>& measured) {
  std::vector<std::vector<std::string>> rows = {{"task", "part", "KV", "score, %", "samples"}};
  for (size_t t = 0; t < tasks.size(); ++t) {
    const std::string& name = tasks.task(t).name;
    for (const Measurement& m : measured) {
      std::map<std::string, std::vector<double>> parts;
      each_score(tasks, t, m, [&](const Sample& sample, double score) {
        if (sample.depth < 0 && !sample.part.empty()) parts[sample.part].push_back(score);
      });
      if (parts.size() < 2) continue;
      for (const auto& [part, values] : parts) {
        const std::string score = score_text(*find_figure(name), estimate(values));
        rows.push_back({name, part, m.point.kv, score, std::to_string(values.size())});
      }
    }
  }
  return rows.size() == 1 ? "" : markdown(rows);
}

std::string depth_table(const TaskSet& tasks, const std::vector<Measurement>& measured) {
  std::vector<std::vector<std::string>> rows = {
      {"task", "KV", "length", "depth 0-20 %", "20-40 %", "40-60 %", "60-80 %", "80-100 %"}};
  for (size_t t = 0; t < tasks.size(); ++t) {
    for (const Measurement& m : measured) {
      // By length, then by fifth of the depth.
      std::map<std::string, std::array<std::vector<double>, kDepths>> grid;
      each_score(tasks, t, m, [&](const Sample& sample, double score) {
        if (sample.depth < 0) return;
        const auto fifth = std::min<size_t>(kDepths - 1, static_cast<size_t>(sample.depth * kDepths));
        grid[sample.part][fifth].push_back(score);
      });
      for (const auto& [length, fifths] : grid) {
        std::vector<std::string> row = {tasks.task(t).name, m.point.kv, length.empty() ? "all" : length};
        for (const std::vector<double>& scores : fifths) {
          row.push_back(scores.empty() ? "" : fmt::format("{:.0f} ({})", 100 * mean(scores), scores.size()));
        }
        rows.push_back(std::move(row));
      }
    }
  }
  return rows.size() == 1 ? "" : markdown(rows);
}

std::string sample_log(const TaskSet& tasks, const std::vector<Measurement>& measured,
                       const std::vector<TaskResults>& results, const Tokenizer& tokenizer) {
  std::string text;
  for (size_t p = 0; p < measured.size(); ++p) {
    for (size_t t = 0; t < results[p].size(); ++t) {
      for (size_t i = 0; i < results[p][t].size(); ++i) {
        Json line;
        line["point"] = to_text(measured[p].point);
        line["task"] = tasks.task(t).name;
        describe(tasks.questions(t)[i], results[p][t][i], tokenizer, line);
        text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      }
    }
  }
  return text;
}

}  // namespace kvpareto
