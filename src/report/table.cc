// Points as rows for programs (Markdown, CSV, JSON) and the front as columns for a terminal.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "report/findings.h"
#include "report/format.h"
#include "search/confidence.h"
#include "search/verification.h"

namespace kvpareto {
namespace {

using Json = nlohmann::ordered_json;

bool measured(std::span<const Measurement> measurements, const std::string& figure) {
  return std::any_of(measurements.begin(), measurements.end(),
                     [&](const Measurement& m) { return m.values.contains(figure); });
}

bool has_error(std::span<const Measurement> measurements, const std::string& figure) {
  return std::any_of(measurements.begin(), measurements.end(), [&](const Measurement& m) {
    const auto found = m.values.find(figure);
    return found != m.values.end() && found->second.standard_error != 0;
  });
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// All rows have the same keys in the same order: null where a point lacks a figure. Names are llama-bench's where the
// meaning is the same.
std::vector<Json> make_rows(std::span<const Measurement> measurements, const Front& front) {
  std::vector<Json> rows;
  for (size_t i = 0; i < measurements.size(); ++i) {
    const Measurement& m = measurements[i];
    Json row;
    row["model_filename"] = m.regime.model;
    row["n_ctx"] = m.regime.context;
    row["n_prompt"] = m.regime.prefill;
    row["point"] = to_text(m.point);
    row["weights"] = m.point.weights;
    row["kv"] = m.point.kv;
    row["n_ubatch"] = m.point.chunk;
    row["state"] = m.state == State::kDone ? "done" : "failed";
    for (const Figure& figure : figures()) {
      if (!measured(measurements, figure.name)) continue;
      const auto found = m.values.find(figure.name);
      const bool known = found != m.values.end();
      row[figure.name] = known ? number(found->second.value) : Json(nullptr);
      if (!has_error(measurements, figure.name)) continue;
      row[figure.name + "_se"] = known ? number(found->second.standard_error) : Json(nullptr);
    }
    row["dominated"] = i < front.dominated.size() ? static_cast<bool>(front.dominated[i]) : true;
    row["reason"] = m.reason;
    rows.push_back(row);
  }
  return rows;
}

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string plain(const Json& value) {
  if (value.is_null()) return {};
  return value.is_string() ? value.get<std::string>() : dump(value);
}

std::string md_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out;
}

std::string lines(const std::vector<Json>& rows, const char* separator, std::string (*cell)(std::string_view),
                  bool markdown) {
  if (rows.empty()) return {};
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    const std::string joined = join(cells, separator);
    text += markdown ? "| " + joined + " |\n" : joined + "\n";
  };
  std::vector<std::string> names, rule;
  for (const auto& [name, value] : rows.front().items()) {
    names.push_back(name);
    rule.push_back(value.is_string() ? "---" : "---:");
  }
  line(names);
  if (markdown) line(rule);
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const Json& value : row) cells.push_back(cell(plain(value)));
    line(cells);
  }
  return text;
}

struct Column {
  std::string name;
  bool left;
};

std::string aligned(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    widths.push_back(width_of(columns[c].name));
    for (const auto& row : rows) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string text;
  const auto line = [&](auto cell_of) {
    std::string out;
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string cell = cell_of(c);
      const std::string room(widths[c] - width_of(cell), ' ');
      out += (c == 0 ? "" : "  ") + (columns[c].left ? cell + room : room + cell);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + "\n";
  };
  line([&](size_t c) { return columns[c].name; });
  for (const auto& row : rows) line([&](size_t c) { return row[c]; });
  return text;
}

std::string short_number(const Measurement& m, const char* figure, double factor, const char* format) {
  const double value = m.value(figure);
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value * factor) : "-";
}

}  // namespace

std::string table(std::span<const Measurement> measurements, const Front& front, const std::string& format) {
  const std::vector<Json> rows = make_rows(measurements, front);
  if (format == "md") return lines(rows, " | ", md_cell, true);
  if (format == "csv") return lines(rows, ",", csv_cell, false);
  if (format == "json") return dump(Json(rows), 1) + "\n";
  if (format == "jsonl") {
    std::string text;
    for (const Json& row : rows) text += dump(row) + "\n";
    return text;
  }
  const std::vector<std::string> formats = {"md", "csv", "json", "jsonl"};
  fail_usage("table format '{}': wanted one of {}; the nearest is {}", format, join(formats, ", "),
             nearest(format, formats));
}

std::string front_table(std::span<const Measurement> measurements, const Front& front) {
  ReportInput input;
  input.measurements.assign(measurements.begin(), measurements.end());
  const Findings findings = read_study(input);
  // read_study may leave out points of another regime; indices of `front` are those of `measurements`.
  std::optional<size_t> baseline;
  if (findings.baseline) {
    const Point& point = findings.points[*findings.baseline].point;
    const auto found = std::find_if(measurements.begin(), measurements.end(), [&](const Measurement& m) {
      return m.point == point && m.regime == findings.points.front().regime;
    });
    baseline = static_cast<size_t>(found - measurements.begin());
  }
  std::vector<size_t> order;
  if (baseline) order.push_back(*baseline);
  for (const size_t i : front.members) {
    if (i != baseline) order.push_back(i);
  }
  if (order.empty()) return "No configuration was measured completely: there is no front yet.\n";

  const bool decode = measured(measurements, "decode_ts"), prefill = measured(measurements, "prefill_ts");
  const bool top = measured(measurements, "same_top");
  std::vector<Column> columns = {{"scheme", true}, {"chunk", false}, {"peak", false}, {"change", false}};
  columns.push_back({"divergence ± s.e.", false});
  if (top) columns.push_back({"same top", false});
  if (prefill) columns.push_back({"prefill t/s", false});
  if (decode) columns.push_back({"decode t/s", false});
  // Of a front of few texts the probabilities would be 1, 3/4, 1/2: they tell something from three texts on.
  const FrontConfidence sure = front_confidence(measurements);
  const bool shows_sure = sure.texts > 2, held_out = measured(measurements, kHeldOut.c_str());
  if (held_out) columns.push_back({"held out", false});
  if (shows_sure) columns.push_back({"on front", false});
  columns.push_back({"", true});
  std::vector<std::vector<std::string>> rows;
  for (const size_t i : order) {
    const Measurement& m = measurements[i];
    const bool is_baseline = i == baseline;
    const double peak = m.value("peak_bytes");
    std::string change = "-";
    if (baseline && !is_baseline) {
      const double percent = 100 * (peak / measurements[*baseline].value("peak_bytes") - 1);
      if (std::isfinite(percent)) change = fmt::format("{:+.0f} %", percent);
    }
    const std::string weights = m.point.weights == "w16" ? "" : m.point.weights + "_";
    std::vector<std::string> row = {clipped(weights + m.point.kv, kLongestScheme), std::to_string(m.point.chunk),
                                    human_bytes(peak), change, with_error(m.values.at("kld_mean"))};
    if (top) row.push_back(short_number(m, "same_top", 100, "{:.1f} %"));
    if (prefill) row.push_back(short_number(m, "prefill_ts", 1, "{:.0f}"));
    if (decode) row.push_back(short_number(m, "decode_ts", 1, "{:.1f}"));
    if (held_out) row.push_back(short_number(m, kHeldOut.c_str(), 1, "{:.2g}"));
    if (shows_sure) row.push_back(fmt::format("{:.0f} %", 100 * sure.on_front[i]));
    row.push_back(is_baseline ? "baseline" : i == front.knee ? "<- knee" : "");
    if (is_baseline && !front.members.empty() && i == front.knee) row.back() = "baseline, knee";
    rows.push_back(row);
  }
  return aligned(columns, rows);
}

}  // namespace kvpareto
