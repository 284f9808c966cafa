#pragma once
// Files of evaluation sets, as tools/fetch_data.py lays them out under one folder.

#include <string>
#include <vector>

namespace kvpareto {

// A record of LongBench's layout or GSM8K's; fields that a line lacks stay empty.
struct DataRecord {
  std::string input, context;        // LongBench
  std::vector<std::string> answers;  // LongBench
  std::string question, answer;      // GSM8K
};

// `folder`/`name`. Throws Error (kFailure): no folder was given, no such file (naming what fetches it).
std::string data_path(const std::string& folder, const std::string& name);

// A JSON object a line. Throws Error (kFailure) naming file and line.
std::vector<DataRecord> read_records(const std::string& path);

// Comma-separated values after RFC 4180: quotes may hold commas, line breaks and doubled quotes. Throws Error
// (kFailure) for a row that has not `columns` cells.
std::vector<std::vector<std::string>> read_csv(const std::string& path, size_t columns);

}  // namespace kvpareto
