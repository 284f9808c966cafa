#include "eval/texts.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/mapped_file.h"
#include "base/random.h"

namespace kvpareto {
namespace {

// Of a text of `tokens` tokens, the file is searched no further than this many bytes a token: a file of gigabytes is
// cut in the time that a small one takes. Byte-level tokens of prose are 3 to 5 bytes.
constexpr size_t kSearchedBytesPerToken = 64;
// What is told of a text that is too short: by its own tokens where there are enough of them.
constexpr double kUsualBytesPerToken = 4;
constexpr size_t kTokensThatTell = 64;

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

// The nearest place at or after `place` that begins a UTF-8 character.
size_t character_start(std::string_view text, size_t place) {
  while (place < text.size() && (static_cast<uint8_t>(text[place]) & 0xc0u) == 0x80u) ++place;
  return place;
}

std::vector<int32_t> token_array(const std::string& path, const nlohmann::json& row, size_t number, int vocabulary) {
  if (!row.is_array() || row.empty()) fail("{}: wanted text {} to be an array of token ids", path, number);
  std::vector<int32_t> tokens;
  tokens.reserve(row.size());
  for (const nlohmann::json& id : row) {
    const bool fits = id.is_number_integer() && (id.is_number_unsigned() || id.get<int64_t>() >= 0) &&
                      id.get<uint64_t>() < static_cast<uint64_t>(vocabulary);
    if (!fits) {
      fail("{}: wanted token ids 0 to {}, found {} in text {}, place {}", path, vocabulary - 1,
           id.is_number() ? id.dump() : id.type_name(), number, tokens.size());
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

}  // namespace

void check_size(const TextSize& size) {
  if (size.texts < 1) fail_usage("wanted at least 1 text, found {}", size.texts);
  if (size.tokens < 2) fail_usage("wanted texts of at least 2 tokens, found {}", size.tokens);
}

std::vector<Text> texts_of_file(const std::string& path, const Tokenizer& tokenizer, const TextSize& size) {
  check_size(size);
  const MappedFile file(path);
  const std::string_view all(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const std::vector<int32_t> beginning = tokenizer.encode("", false, true);
  const size_t wanted = static_cast<size_t>(size.tokens) - beginning.size();
  const size_t parts = static_cast<size_t>(size.texts), most_bytes = wanted * kSearchedBytesPerToken;
  Random random(size.seed);
  std::vector<Text> texts;
  for (size_t i = 0; i < parts; ++i) {
    size_t begin = all.size() / parts * i;
    const size_t end = i + 1 == parts ? all.size() : all.size() / parts * (i + 1);
    if (end - begin > most_bytes) begin += random.below(end - begin - most_bytes + 1);
    begin = std::min(end, character_start(all, begin));
    const size_t searched = character_start(all, std::min(end, begin + most_bytes)) - begin;
    const std::vector<int32_t> found = tokenizer.encode(all.substr(begin, searched), false, false);
    if (found.size() < wanted) {
      const double bytes_per_token =
          found.size() < kTokensThatTell ? kUsualBytesPerToken : static_cast<double>(searched) / found.size();
      fail(
          "{}: wanted {} texts of {} tokens, found {} bytes; it must have about {:.0f}, or ask for fewer or shorter "
          "texts",
          path, size.texts, size.tokens, all.size(), std::ceil(1.05 * bytes_per_token * wanted * parts));
    }
    const auto first = found.begin() + static_cast<int64_t>(random.below(found.size() - wanted + 1));
    Text text{beginning, fmt::format("{}, seed {}", file_name(path), size.seed)};
    text.tokens.insert(text.tokens.end(), first, first + static_cast<int64_t>(wanted));
    texts.push_back(std::move(text));
  }
  return texts;
}

std::vector<Text> texts_of_token_file(const std::string& path, int vocabulary) {
  const nlohmann::json rows = nlohmann::json::parse(read_file(path), nullptr, false);
  if (!rows.is_array() || rows.empty()) {
    fail("{}: wanted a JSON array of arrays of token ids ([[1, 2, 3], ...]), found {}", path,
         rows.is_discarded() ? "no valid JSON"
         : rows.is_array()   ? "an empty array"
                             : rows.type_name());
  }
  std::vector<Text> texts;
  for (const nlohmann::json& row : rows) {
    texts.push_back({token_array(path, row, texts.size(), vocabulary), file_name(path)});
  }
  return texts;
}

std::vector<Text> default_texts(const Model& model, const Tokenizer& tokenizer, const std::string& file,
                                const std::string& data_folder, const TextSize& size,
                                const std::function<void(double)>& progress) {
  if (!file.empty()) return texts_of_file(file, tokenizer, size);
  const auto wikitext = std::filesystem::path(data_folder) / "wikitext2_raw" / "wiki.test.raw";
  std::error_code ignored;
  if (!data_folder.empty() && std::filesystem::is_regular_file(wikitext, ignored)) {
    return texts_of_file(wikitext.string(), tokenizer, size);
  }
  return sample_texts(model, tokenizer, size, progress);
}

}  // namespace kvpareto
