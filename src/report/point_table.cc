// Every point as a row, the front set off; failures with their reasons.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

// What a reader compares; the other figures are in the tooltips and in the CSV.
std::vector<std::string> all_columns() {
  std::vector<std::string> names = {"kv_bytes", "effective_bits", "kld_mean", "kld_p999", "same_top", "delta_nll"};
  for (const TaskFacts& task : task_facts()) names.push_back(task.name);
  names.insert(names.end(), {"prefill_ts", "decode_ts"});
  return names;
}

bool present(const Findings& findings, const std::string& figure) {
  return std::any_of(findings.points.begin(), findings.points.end(),
                     [&](const Measurement& m) { return std::isfinite(m.value(figure)); });
}

std::string cell(const std::string& text, double value, const char* style = "") {
  const std::string key = std::isfinite(value) ? fmt::format(" data-v=\"{}\"", value) : "";
  return fmt::format("<td{}{}>{}</td>", key, *style == 0 ? "" : fmt::format(" class=\"{}\"", style), text);
}

// Whole in a tooltip where there is no room for all of it.
std::string text_cell(const std::string& text, size_t width, const char* before, const std::string& behind) {
  const std::string whole = escape_html(text), shown = escape_html(clipped(text, width));
  const std::string title = shown == whole ? "" : fmt::format(" title=\"{}\"", whole);
  return fmt::format("<td data-v=\"{}\"{}>{}{}{}</td>", whole, title, before, shown, behind);
}

std::string figure_cell(const Findings& findings, size_t i, const std::string& column) {
  const auto found = findings.points[i].values.find(column);
  if (found == findings.points[i].values.end() || !std::isfinite(found->second.value)) return "<td></td>";
  const bool over = column == "kld_mean" && findings.broken(i);
  Estimate shown = found->second;
  // Only the objective carries its error here, or the table is wider than a page; the others' are in the tooltips.
  if (column != "kld_mean") shown.standard_error = 0;
  const bool loss = column == "kld_p999" || column == "delta_nll";
  std::string text = loss ? significant(shown.value, 2) : in_words(*find_figure(column), shown);
  const size_t sign = text.find(" ± ");
  if (sign != std::string::npos) text = text.substr(0, sign) + "<span class=\"pm\">" + text.substr(sign) + "</span>";
  return cell(text, found->second.value, over ? "over" : "");
}

std::string row_style(const Findings& findings, size_t i) {
  std::string style = findings.on_front[i] ? "front" : "dominated";
  if (findings.broken(i)) style += " broken";
  if (i == findings.baseline) style += " base";
  if (i == findings.recommended) style += " best";
  return style;
}

std::string row(const Findings& findings, size_t i, const std::vector<std::string>& columns, bool with_weights) {
  const Measurement& m = findings.points[i];
  const char* remark = i == findings.recommended ? (i == findings.front.knee ? "knee" : "recommended")
                       : i == findings.baseline  ? "baseline"
                                                 : "";
  std::string markup =
      fmt::format("<tr class=\"{}\" data-p=\"{}\" data-front=\"{}\" data-chunk=\"{}\"{}>", row_style(findings, i), i,
                  findings.on_front[i] ? 1 : 0, m.point.chunk, *remark == 0 ? "" : " data-keep=\"\"");
  const std::string note = *remark == 0 ? "" : fmt::format("<small>{}</small>", remark);
  markup += text_cell(m.point.kv, kLongestScheme, "<i></i>", note);
  if (with_weights) markup += text_cell(m.point.weights, kLongestWeights, "", "");
  markup += cell(std::to_string(m.point.chunk), m.point.chunk);
  markup += cell(human_bytes(findings.cost(i)), findings.cost(i));
  if (findings.baseline) {
    const double whole = findings.cost(*findings.baseline);
    markup += cell(i == findings.baseline ? "" : percent_change(findings.cost(i), whole), findings.cost(i) / whole);
  }
  for (const std::string& column : columns) markup += figure_cell(findings, i, column);
  return markup + "</tr>\n";
}

std::string header(const std::string& name, const std::string& unit) {
  return fmt::format("<th scope=\"col\"><span>{}</span><small>{}</small></th>", escape_html(name), escape_html(unit));
}

std::string failures(const Findings& findings) {
  std::string rows;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    if (findings.complete(i)) continue;
    const Measurement& m = findings.points[i];
    const std::string reason = m.state == State::kFailed ? m.reason : "not completely measured";
    rows += fmt::format("<tr><td class=\"nb\">{}</td><td>{}</td></tr>", escape_html(to_text(m.point)),
                        escape_html(reason.empty() ? "no reason recorded" : reason));
  }
  if (rows.empty()) return {};
  return "<h3 id=\"failures\">Not measured, and why</h3><div class=\"scroll\"><table class=\"failures\"><tbody>" +
         rows + "</tbody></table></div>";
}

}  // namespace

std::string point_table(const Findings& findings) {
  if (findings.points.empty()) return {};
  std::vector<size_t> order;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    if (findings.complete(i)) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(a != findings.baseline, findings.cost(a)) < std::pair(b != findings.baseline, findings.cost(b));
  });
  std::string markup = "<section id=\"points\"><h2>Every configuration</h2>";
  if (!order.empty()) {
    const bool with_weights = std::any_of(findings.points.begin(), findings.points.end(), [&](const Measurement& m) {
      return m.point.weights != findings.points.front().point.weights;
    });
    std::vector<std::string> columns;
    for (const std::string& column : all_columns()) {
      if (present(findings, column)) columns.push_back(column);
    }
    markup += "<p class=\"lead\">Baseline first, then from least to most memory. Rows in full ink are on the front.";
    markup +=
        " ± is one standard error of the mean; the errors of the other figures are in the tooltips of the charts and "
        "in the CSV.</p>";
    markup += "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>" + header("Scheme", "");
    if (with_weights) markup += header("Weights", "");
    markup += header("Chunk", "tokens") + header("Peak", "");
    if (findings.baseline) markup += header("Change", "to baseline");
    for (const std::string& column : columns) {
      const Figure* figure = find_figure(column);
      markup += header(figure->label, unit_in_words(*figure));
    }
    markup += "</tr></thead><tbody>\n";
    for (const size_t i : order) markup += row(findings, i, columns, with_weights);
    markup += "</tbody></table></div>";
  }
  return markup + failures(findings) + "</section>\n";
}

}  // namespace kvpareto
