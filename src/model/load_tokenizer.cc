#include <algorithm>

#include "base/error.h"
#include "model/model.h"
#include "text/tokenizer_json.h"

namespace kvpareto {
namespace {

constexpr int32_t kUnused = 5;

std::optional<int32_t> find_token(const Vocabulary& vocabulary, const std::string& text) {
  const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text);
  if (text.empty() || found == vocabulary.tokens.end()) return std::nullopt;
  return static_cast<int32_t>(found - vocabulary.tokens.begin());
}

Vocabulary from_gguf(VocabularyData& data) {
  Vocabulary vocabulary;
  vocabulary.model = std::move(data.model);
  vocabulary.pre_tokenizer = std::move(data.pre_tokenizer);
  vocabulary.tokens = std::move(data.tokens);
  vocabulary.merges = std::move(data.merges);
  vocabulary.scores = std::move(data.scores);
  vocabulary.token_types = std::move(data.token_types);
  vocabulary.beginning = data.beginning;
  vocabulary.end = data.end;
  vocabulary.unknown = data.unknown;
  // SentencePiece's models begin every text unless the file says otherwise.
  vocabulary.add_beginning = data.adds_beginning.value_or(vocabulary.model == "llama" && data.beginning);
  vocabulary.add_space = data.add_space;
  return vocabulary;
}

Vocabulary from_json(const VocabularyData& data, const std::string& folder) {
  Vocabulary vocabulary = parse_tokenizer_json(data.tokenizer_json, folder + "/tokenizer.json");
  const auto beginning = find_token(vocabulary, data.beginning_text);
  if (beginning) vocabulary.beginning = beginning;
  if (!vocabulary.beginning) vocabulary.beginning = data.beginning;
  if (data.adds_beginning) vocabulary.add_beginning = *data.adds_beginning && vocabulary.beginning;
  vocabulary.end = find_token(vocabulary, data.end_text);
  vocabulary.more_ends = data.ends;
  return vocabulary;
}

}  // namespace

Tokenizer load_tokenizer(const Checkpoint& checkpoint) {
  VocabularyData data = checkpoint.vocabulary();
  Vocabulary vocabulary = data.tokenizer_json.empty() ? from_gguf(data) : from_json(data, checkpoint.path());
  const TensorInfo* embedding = checkpoint.find("token_embd.weight");
  const size_t rows = embedding != nullptr ? static_cast<size_t>(embedding->rows()) : 0;
  if (vocabulary.tokens.size() > rows) {
    fail("{}: the tokenizer has {} tokens, but the embedding only {} rows", checkpoint.path(), vocabulary.tokens.size(),
         rows);
  }
  // The model can answer with any row.
  while (!data.tokenizer_json.empty() && vocabulary.tokens.size() < rows) {
    vocabulary.tokens.push_back(fmt::format("[PAD{}]", vocabulary.tokens.size()));
    vocabulary.token_types.push_back(kUnused);
  }
  return Tokenizer(std::move(vocabulary));
}

}  // namespace kvpareto
