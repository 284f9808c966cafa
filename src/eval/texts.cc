#include "eval/texts.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "engine/batch.h"

namespace kvpareto {
namespace {

// Passages are sampled this many at a time and are at most this long. Longer ones drift into repetition with small
// models; more at a time cost memory for little speed.
constexpr int kPassagesAtOnce = 32;
constexpr int kLongestPassage = 512;

// Of a text of `tokens` tokens, the file is searched no further than this many bytes a token: a file of gigabytes is
// cut in the time that a small one takes. Byte-level tokens of prose are 3 to 5 bytes.
constexpr size_t kSearchedBytesPerToken = 64;

// What a document starts with: the model's beginning token, else the end-of-text token that parts documents in
// training.
int32_t start_token(const Tokenizer& tokenizer) {
  const std::vector<int32_t> beginning = tokenizer.encode("", false, true);
  if (!beginning.empty()) return beginning.front();
  for (const char* name : {"<|endoftext|>", "<|begin_of_text|>", "<s>"}) {
    if (const auto id = tokenizer.find(name)) return *id;
  }
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.is_end(id)) return id;
  }
  return 0;
}

// Ids that are no text: control tokens, which decode to nothing, and rows of the head that the tokenizer lacks.
std::vector<int32_t> textless_tokens(const Tokenizer& tokenizer, int vocabulary) {
  std::vector<int32_t> banned;
  for (int32_t id = 0; id < vocabulary; ++id) {
    if (id >= tokenizer.size() || tokenizer.decode({&id, 1}).empty()) banned.push_back(id);
  }
  return banned;
}

void check(const TextSize& size) {
  if (size.texts < 1) fail_usage("wanted at least 1 text, found {}", size.texts);
  if (size.tokens < 2) fail_usage("wanted texts of at least 2 tokens, found {}", size.tokens);
}

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

std::vector<Text> sample_texts(const Model& model, const Tokenizer& tokenizer, const TextSize& size,
                               const std::function<void(double)>& progress) {
  check(size);
  const int least = (size.tokens + kLongestPassage - 1) / kLongestPassage;  // passages of one text
  const int batches = (size.texts * least + kPassagesAtOnce - 1) / kPassagesAtOnce;
  const int passages = std::max(least, std::min(batches * kPassagesAtOnce / size.texts, size.tokens / 2));
  const int length = (size.tokens + passages - 1) / passages;  // start token included
  const int32_t start = start_token(tokenizer);
  const std::vector<int32_t> banned = textless_tokens(tokenizer, model.shape.vocabulary);
  // Sequence i of a batch draws from the batch's seed + i: far-apart seeds keep texts of seed 1 and seed 2 different.
  const uint64_t first_seed = Random(size.seed).next();
  const Sampling sampling{.temperature = 1, .top_p = 0.95, .top_k = 0};

  std::vector<Text> texts(static_cast<size_t>(size.texts));
  for (Text& text : texts) text.origin = fmt::format("self-sampled, seed {}", size.seed);
  const int total = size.texts * passages;
  for (int done = 0; done < total; done += kPassagesAtOnce) {
    const int count = std::min(kPassagesAtOnce, total - done);
    const std::vector<std::vector<int32_t>> prompts(static_cast<size_t>(count), {start});
    const auto sampled = sample_batch(model, prompts, length - 1, sampling, first_seed + static_cast<uint64_t>(done),
                                      banned, [&](int steps) {
                                        const double part = static_cast<double>(steps) / std::max(1, length - 1);
                                        if (progress) progress((done + part * count) / total);
                                      });
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t>& tokens = texts[static_cast<size_t>((done + i) / passages)].tokens;
      tokens.push_back(start);
      const auto& passage = sampled[static_cast<size_t>(i)];
      tokens.insert(tokens.end(), passage.begin(), passage.end());
    }
  }
  for (Text& text : texts) text.tokens.resize(static_cast<size_t>(size.tokens));
  return texts;
}

std::vector<Text> texts_of_file(const std::string& path, const Tokenizer& tokenizer, const TextSize& size) {
  check(size);
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
      const double bytes_per_token = static_cast<double>(searched) / std::max<double>(1, found.size());
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
