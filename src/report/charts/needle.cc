// Scores of tasks, a row a scheme, a panel a task.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/format.h"
#include "report/svg.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

constexpr size_t kMostRows = 24;
// Names of schemes are long: each stands above its line.
constexpr double kRow = 38, kTop = 44, kName = 14, kLeft = 8, kRight = kPanelWidth - 46;

bool scored(const Measurement& m, const std::string& figure) {
  const double share = m.value(figure);
  return m.state == State::kDone && share >= 0 && share <= 1;
}

bool scored(const Measurement& m, const TaskFacts& task) {
  return task.kind == ScoreKind::kShare && scored(m, task.name);
}

// Rows: the baseline, then from most memory to least; only the front if there are too many.
std::vector<size_t> make_rows(const Findings& findings) {
  std::vector<size_t> rows;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const Measurement& m = findings.points[i];
    const auto tasks = task_facts();
    if (std::any_of(tasks.begin(), tasks.end(), [&](const TaskFacts& task) { return scored(m, task); })) {
      rows.push_back(i);
    }
  }
  const auto important = [&](size_t i) { return findings.on_front[i] || i == findings.baseline; };
  if (rows.size() > kMostRows) std::erase_if(rows, [&](size_t i) { return !important(i); });
  const auto bytes = [&](size_t i) {
    const double cost = findings.cost(i);
    return std::isfinite(cost) ? cost : 0;
  };
  std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) {
    return std::pair(a == findings.baseline, bytes(a)) > std::pair(b == findings.baseline, bytes(b));
  });
  if (rows.size() > kMostRows) rows.resize(kMostRows);
  return rows;
}

std::string draw_task(const Findings& findings, const std::vector<size_t>& rows, const std::string& figure_name) {
  const Figure* figure = find_figure(figure_name);
  const double bottom = kTop + kRow * static_cast<double>(rows.size());
  Svg svg(kPanelWidth, bottom + 40, figure->label + " by scheme");
  const Scale x = Scale::linear(0, 1, kLeft, kRight);
  svg.text(0, 14, figure->label, "panel-name");
  svg.text(0, 30, "score", "axis-unit");
  for (const double tick : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg.line(x(tick), kTop - 4, x(tick), bottom, "grid");
    svg.text(x(tick), bottom + 16, fmt::format("{:.0f}", tick * 100), "axis", Anchor::kMiddle);
  }
  svg.text(kRight, bottom + 33, "%", "axis-unit", Anchor::kMiddle);
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t i = rows[r];
    const double top = kTop + kRow * static_cast<double>(r), y = top + 27;
    const char* style = i == findings.recommended ? "best" : i == findings.baseline ? "base" : "other";
    svg.text(0, top + kName, findings.label(i), std::string("row-name ") + style);
    const Measurement& m = findings.points[i];
    if (!scored(m, figure_name)) continue;
    const Estimate& estimate = m.values.at(figure_name);
    svg.open(findings.broken(i) ? "mark broken" : "mark", fmt::format("data-p=\"{}\"", i), tooltip(findings, i));
    if (const auto interval = share_interval95(estimate))
      svg.line(x(interval->low), y, x(interval->high), y, "whisker");
    svg.circle(x(estimate.value), y, 4.5, std::string("share-dot ") + style);
    svg.text(kRight + 12, y + 4, fmt::format("{:.0f}", estimate.value * 100), std::string("value-at ") + style);
    svg.close();
  }
  return svg.str();
}

}  // namespace

Drawing draw_needle(const Findings& findings) {
  const std::vector<size_t> rows = make_rows(findings);
  if (rows.empty()) return {};
  std::vector<std::string> drawings;
  int64_t samples = 0;
  for (const TaskFacts& task : task_facts()) {
    const bool any = std::any_of(rows.begin(), rows.end(), [&](size_t i) { return scored(findings.points[i], task); });
    if (any) drawings.push_back(draw_task(findings, rows, task.name));
    for (const size_t i : rows) {
      if (scored(findings.points[i], task))
        samples = std::max(samples, findings.points[i].values.at(task.name).samples);
    }
  }
  Drawing drawing;
  drawing.lead =
      "Tasks answered through the packed cache: the share that was right, or how much of an answer was. Most memory on "
      "top.";
  drawing.figure = panels(drawings);
  drawing.note = fmt::format(
      "Lines are 95 % intervals (Wilson) of up to {} questions each; where they overlap widely, nothing tells two "
      "schemes apart.",
      samples);
  return drawing;
}

}  // namespace kvpareto
