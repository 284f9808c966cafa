#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "engine/batch.h"
#include "eval/texts.h"

namespace kvpareto {
namespace {

// Passages are sampled this many at a time and are at most this long. Longer ones drift into repetition with small
// models; more at a time cost memory for little speed.
constexpr int kPassagesAtOnce = 64;
constexpr int kShortestPassage = 256, kLongestPassage = 512;

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

std::string origin_of(const TextSize& size) { return fmt::format("self-sampled, seed {}", size.seed); }

// What an earlier run kept; empty if there is nothing that is whole and of this size.
std::vector<Text> read_kept(const std::string& path, const TextSize& size, int vocabulary) {
  std::vector<Text> texts;
  try {
    texts = texts_of_token_file(path, vocabulary);
  } catch (const Error&) {
    return {};
  }
  const auto whole = [&](const Text& text) { return text.tokens.size() == static_cast<size_t>(size.tokens); };
  if (texts.size() != static_cast<size_t>(size.texts) || !std::all_of(texts.begin(), texts.end(), whole)) return {};
  for (Text& text : texts) text.origin = origin_of(size);
  return texts;
}

}  // namespace

std::vector<Text> sample_texts(const Model& model, const Tokenizer& tokenizer, const TextSize& size,
                               const std::function<void(double)>& progress) {
  check_size(size);
  const int least = (size.tokens + kLongestPassage - 1) / kLongestPassage;  // passages of one text
  const int batches = (size.texts * least + kPassagesAtOnce - 1) / kPassagesAtOnce;
  const int filling = batches * kPassagesAtOnce / size.texts;  // as many as leave no place of a batch empty
  const int passages = std::max(least, std::min(filling, size.tokens / kShortestPassage));
  const int length = (size.tokens + passages - 1) / passages;  // start token included
  const int32_t start = start_token(tokenizer);
  const std::vector<int32_t> banned = textless_tokens(tokenizer, model.shape.vocabulary);
  // Sequence i of a batch draws from the batch's seed + i: far-apart seeds keep texts of seed 1 and seed 2 different.
  const uint64_t first_seed = Random(size.seed).next();
  // The tail of a small model's distribution is noise; top_k also spares sorting the whole vocabulary for every token.
  const Sampling sampling{.temperature = 1, .top_p = 0.95, .top_k = 64};

  std::vector<Text> texts(static_cast<size_t>(size.texts));
  for (Text& text : texts) text.origin = origin_of(size);
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

std::vector<Text> kept_sample_texts(const std::string& folder, const Model& model, const Tokenizer& tokenizer,
                                    const TextSize& size, const std::function<void(double)>& progress) {
  if (folder.empty()) return sample_texts(model, tokenizer, size, progress);
  const std::string name =
      fmt::format("{}-{}x{}-seed{}.json", fingerprint(model.fingerprint), size.texts, size.tokens, size.seed);
  const std::string path = (std::filesystem::path(folder) / name).string();
  std::vector<Text> texts = read_kept(path, size, model.shape.vocabulary);
  if (!texts.empty()) return texts;
  texts = sample_texts(model, tokenizer, size, progress);
  nlohmann::json kept = nlohmann::json::array();
  for (const Text& text : texts) kept.push_back(text.tokens);
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  try {
    write_file(path, kept.dump());
  } catch (const Error&) {
    // Only time is lost: the next run samples again.
  }
  return texts;
}

}  // namespace kvpareto
