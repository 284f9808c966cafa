#include "eval/calibration_texts.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "eval/openings.h"

namespace kvpareto {
namespace {

constexpr const char* kDefaultFile = "calibration/calib_prose_512.jsonl";
constexpr int kPartOfFile = 3;  // one of so many sequences

std::string text_of_line(std::string_view line, const std::string& path, int number) {
  const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
  const bool has_text = row.is_object() && row.contains("text") && row["text"].is_string();
  if (!has_text) fail("{}: line {}: wanted a JSON object with a string \"text\"", path, number);
  return row["text"].get<std::string>();
}

std::vector<std::vector<int32_t>> of_json_lines(const std::string& path, const Tokenizer& tokenizer,
                                                const CalibrationSize& size) {
  const MappedFile file(path);
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<std::vector<int32_t>> sequences;
  const auto wanted = static_cast<size_t>(size.tokens);
  for (int number = 1; !rest.empty() && static_cast<int>(sequences.size()) < size.sequences; ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) continue;
    std::vector<int32_t> tokens = tokenizer.encode(text_of_line(line, path, number), false, true);
    if (tokens.size() < wanted) continue;
    tokens.resize(wanted);
    sequences.push_back(std::move(tokens));
  }
  if (static_cast<int>(sequences.size()) < size.sequences) {
    fail("{}: wanted {} lines of at least {} tokens, found {}; ask for fewer or shorter sequences", path,
         size.sequences, size.tokens, sequences.size());
  }
  return sequences;
}

TextSize text_size(const CalibrationSize& size) {
  return {.texts = size.sequences, .tokens = size.tokens, .seed = size.seed};
}

std::vector<std::vector<int32_t>> tokens_of(std::vector<Text> texts) {
  std::vector<std::vector<int32_t>> sequences;
  for (Text& text : texts) sequences.push_back(std::move(text.tokens));
  return sequences;
}

std::vector<std::vector<int32_t>> sequences_of_file(const std::string& path, const Tokenizer& tokenizer,
                                                    const CalibrationSize& size) {
  if (path.ends_with(".jsonl")) return of_json_lines(path, tokenizer, size);
  return tokens_of(texts_of_file(path, tokenizer, text_size(size)));
}

// Empty if it is not there.
std::string default_file(const std::string& data_folder) {
  std::error_code ignored;
  const auto path = std::filesystem::path(data_folder) / kDefaultFile;
  return !data_folder.empty() && std::filesystem::is_regular_file(path, ignored) ? path.string() : "";
}

}  // namespace

CalibrationTexts::CalibrationTexts(const std::string& file, const std::string& data_folder, const Tokenizer& tokenizer,
                                   const CalibrationSize& size)
    : tokenizer_(tokenizer), size_(size) {
  CalibrationSize of_file = size;
  std::string path = file == kSelfSampled ? "" : file;
  if (file.empty()) {
    path = default_file(data_folder);
    of_file.sequences /= kPartOfFile;
  }
  if (!path.empty() && of_file.sequences > 0) {
    read_ = sequences_of_file(path, tokenizer, of_file);
    origin_ = fmt::format("{} of {}", read_.size(), std::filesystem::path(path).filename().string());
  }
  if (sampled() > 0) origin_ += fmt::format("{}{} self-sampled", origin_.empty() ? "" : ", ", sampled());
  origin_ += fmt::format(", {} tokens each, seed {}", size.tokens, size.seed);
}

uint64_t CalibrationTexts::hash() const {
  uint64_t hash = Calibration{read_, {}}.hash();
  hash = hash_bytes(origin_.data(), origin_.size(), hash);
  if (sampled() == 0) return hash;
  for (const std::string_view text : openings()) hash = hash_bytes(text.data(), text.size(), hash);
  return hash;
}

Calibration CalibrationTexts::make(const std::function<Model()>& load,
                                   const std::function<void(double)>& progress) const {
  Calibration calibration{read_, origin_};
  if (sampled() == 0) return calibration;
  CalibrationSize size = size_;
  size.sequences = sampled();
  for (auto& tokens : tokens_of(sample_texts(load(), tokenizer_, text_size(size), progress, openings()))) {
    calibration.sequences.push_back(std::move(tokens));
  }
  return calibration;
}

}  // namespace kvpareto
