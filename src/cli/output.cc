#include "cli/output.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

// Columns on a terminal that a text takes: its characters, taking each for one wide.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string cell(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "";
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return value.dump();
}

bool numeric(std::string_view text) {
  return text.empty() || text == "-" || text.find_first_of("0123456789") == text.find_first_not_of("+-");
}

}  // namespace

void print_result(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  if (errno == EPIPE) throw Error(Exit::kOk, "");
  fail("cannot write to standard output: {}", std::strerror(errno));
}

std::string rows_text(const std::vector<nlohmann::ordered_json>& rows, const std::string& format, bool unwrap_single) {
  std::string text;
  if (format == "json") {
    const nlohmann::ordered_json all = rows;
    return (unwrap_single && rows.size() == 1 ? rows.front() : all).dump(2) + "\n";
  }
  if (format == "jsonl") {
    for (const auto& row : rows) text += row.dump() + "\n";
    return text;
  }
  std::vector<std::vector<std::string>> cells(1);
  if (rows.empty()) return text;
  for (const auto& [key, unused] : rows.front().items()) cells.front().push_back(key);
  for (const auto& row : rows) {
    cells.emplace_back();
    for (const auto& value : row) cells.back().push_back(format == "csv" ? csv_cell(cell(value)) : cell(value));
  }
  if (format == "md") return markdown(cells);
  for (const auto& row : cells) text += fmt::format("{}\n", fmt::join(row, ","));
  return text;
}

std::string markdown(const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return {};
  std::vector<size_t> widths(rows.front().size(), 3);
  std::vector<bool> right(rows.front().size(), true);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < widths.size(); ++c) {
      widths[c] = std::max(widths[c], width(rows[i][c]));
      if (i > 0 && !numeric(rows[i][c])) right[c] = false;
    }
  }
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < widths.size(); ++c) {
      const std::string space(widths[c] - width(rows[i][c]), ' ');
      text += right[c] ? "| " + space + rows[i][c] + " " : "| " + rows[i][c] + space + " ";
    }
    text += "|\n";
    if (i > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c) {
      text += "| " + std::string(widths[c] - 1, '-') + (right[c] ? ":" : "-") + " ";
    }
    text += "|\n";
  }
  return text;
}

size_t complete_utf8(std::string_view text) {
  // Only a character begun within the last three bytes can still be completed.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : (byte >= 0xe0 ? 3 : (byte >= 0xc0 ? 2 : 1));
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace kvpareto
