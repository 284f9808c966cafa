#include "eval/data.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace kvpareto {
namespace {
using Json = nlohmann::json;

std::string text_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found == json.end() || !found->is_string() ? "" : found->get<std::string>();
}

}  // namespace

std::string data_path(const std::string& folder, const std::string& name) {
  if (folder.empty()) {
    fail(
        "wanted evaluation data to read {} from: --data DIR or $KVPARETO_DATA names it, 'tools/fetch_data.py DIR' "
        "fetches it",
        name);
  }
  const std::string path = folder + "/" + name;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    fail("{}: there is no such file; 'tools/fetch_data.py {}' fetches the public sets", path, folder);
  }
  return path;
}

std::vector<DataRecord> read_records(const std::string& path) {
  std::vector<DataRecord> records;
  size_t number = 0;
  for (const std::string& line : split(read_file(path), '\n')) {
    ++number;
    if (line.empty()) continue;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) fail("{}: line {}: wanted a JSON object, found something else", path, number);
    DataRecord record{
        text_of(json, "input"), text_of(json, "context"), {}, text_of(json, "question"), text_of(json, "answer")};
    const auto answers = json.find("answers");
    if (answers != json.end() && answers->is_array()) {
      for (const Json& answer : *answers) {
        if (answer.is_string()) record.answers.push_back(answer.get<std::string>());
      }
    }
    records.push_back(std::move(record));
  }
  if (records.empty()) fail("{}: wanted a JSON object a line, found none", path);
  return records;
}

std::vector<std::vector<std::string>> read_csv(const std::string& path, size_t columns) {
  const std::string text = read_file(path);
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row = {""};
  bool quoted = false;
  const auto finish_row = [&] {
    if (row.size() == 1 && row.front().empty()) return;
    if (row.size() != columns) {
      fail("{}: row {}: wanted {} cells, found {}", path, rows.size() + 1, columns, row.size());
    }
    rows.push_back(row);
    row.assign(1, "");
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      row.back() += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted || (c != ',' && c != '\n' && c != '\r')) {
      row.back() += c;
    } else if (c == ',') {
      row.emplace_back();
    } else if (c == '\n') {
      finish_row();
    }
  }
  finish_row();
  if (rows.empty()) fail("{}: wanted comma-separated values, found none", path);
  return rows;
}

}  // namespace kvpareto
