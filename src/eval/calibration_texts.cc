#include "eval/calibration_texts.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"

namespace kvpareto {
namespace {

constexpr const char* kDefaultFile = "calibration/calib_prose_512.jsonl";

std::string described(const std::string& origin, const CalibrationSize& size) {
  return fmt::format("{}, {} x {} tokens", origin, size.sequences, size.tokens);
}

std::string text_of_line(std::string_view line, const std::string& path, int number) {
  const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
  const bool has_text = row.is_object() && row.contains("text") && row["text"].is_string();
  if (!has_text) fail("{}: line {}: wanted a JSON object with a string \"text\"", path, number);
  return row["text"].get<std::string>();
}

Calibration of_json_lines(const std::string& path, const Tokenizer& tokenizer, const CalibrationSize& size) {
  const MappedFile file(path);
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  Calibration calibration{{}, described(std::filesystem::path(path).filename().string(), size)};
  const auto wanted = static_cast<size_t>(size.tokens);
  for (int number = 1; !rest.empty() && static_cast<int>(calibration.sequences.size()) < size.sequences; ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) continue;
    std::vector<int32_t> tokens = tokenizer.encode(text_of_line(line, path, number), false, true);
    if (tokens.size() < wanted) continue;
    tokens.resize(wanted);
    calibration.sequences.push_back(std::move(tokens));
  }
  if (static_cast<int>(calibration.sequences.size()) < size.sequences) {
    fail("{}: wanted {} lines of at least {} tokens, found {}; ask for fewer or shorter sequences", path,
         size.sequences, size.tokens, calibration.sequences.size());
  }
  return calibration;
}

Calibration of_texts(std::vector<Text> texts, const CalibrationSize& size) {
  Calibration calibration{{}, described(texts.front().origin, size)};
  for (Text& text : texts) calibration.sequences.push_back(std::move(text.tokens));
  return calibration;
}

TextSize text_size(const CalibrationSize& size) {
  return {.texts = size.sequences, .tokens = size.tokens, .seed = size.seed};
}

}  // namespace

Calibration calibration_of_file(const std::string& path, const Tokenizer& tokenizer, const CalibrationSize& size) {
  if (path.ends_with(".jsonl")) return of_json_lines(path, tokenizer, size);
  return of_texts(texts_of_file(path, tokenizer, text_size(size)), size);
}

std::string default_calibration_file(const std::string& data_folder) {
  std::error_code ignored;
  const auto path = std::filesystem::path(data_folder) / kDefaultFile;
  return !data_folder.empty() && std::filesystem::is_regular_file(path, ignored) ? path.string() : "";
}

Calibration sampled_calibration(const Model& model, const Tokenizer& tokenizer, const CalibrationSize& size,
                                const std::function<void(double)>& progress) {
  return of_texts(sample_texts(model, tokenizer, text_size(size), progress), size);
}

}  // namespace kvpareto
