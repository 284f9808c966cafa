#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "engine/batch.h"
#include "eval/texts.h"
#include "kv/layout.h"

namespace kvpareto {
namespace {

// Longer passages drift into repetition with small models, shorter ones are over before they have a topic.
constexpr int kShortestPassage = 256, kLongestPassage = 512;
// Passages sampled side by side: more gain little speed. Large models take fewer, so that their caches stay this small.
constexpr int kMostAtOnce = 64, kFewestAtOnce = 4;
constexpr size_t kMostCacheBytes = size_t{1} << 30;

int passages_at_once(const ModelShape& shape) {
  const size_t fitting = kMostCacheBytes / cache_bytes(KvScheme(), shape.cache_shape(kLongestPassage));
  return static_cast<int>(std::clamp<size_t>(fitting, kFewestAtOnce, kMostAtOnce));
}

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

// The start token and what follows it in each passage, `most` tokens at most.
std::vector<std::vector<int32_t>> beginnings(const Tokenizer& tokenizer, std::span<const char* const> openings,
                                             int most) {
  const int32_t start = start_token(tokenizer);
  if (openings.empty()) return {{start}};
  std::vector<std::vector<int32_t>> all;
  for (const char* const text : openings) {
    std::vector<int32_t>& tokens = all.emplace_back(tokenizer.encode(text, false, false));
    tokens.insert(tokens.begin(), start);
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(most)));
  }
  return all;
}

}  // namespace

std::vector<Text> sample_texts(const Model& model, const Tokenizer& tokenizer, const TextSize& size,
                               const std::function<void(double)>& progress, std::span<const char* const> openings) {
  check_size(size);
  const int at_once = passages_at_once(model.shape);
  const int least = (size.tokens + kLongestPassage - 1) / kLongestPassage;  // passages of one text
  const int batches = (size.texts * least + at_once - 1) / at_once;
  const int filling = batches * at_once / size.texts;  // as many as leave no place of a batch empty
  const int passages = std::max(least, std::min(filling, size.tokens / kShortestPassage));
  const int length = (size.tokens + passages - 1) / passages;  // start token included
  const std::vector<std::vector<int32_t>> begun = beginnings(tokenizer, openings, length);
  const std::vector<int32_t> banned = textless_tokens(tokenizer, model.shape.vocabulary);
  // Sequence i of a batch draws from the batch's seed + i: far-apart seeds keep texts of seed 1 and seed 2 different.
  const uint64_t first_seed = Random(size.seed).next();
  // The tail of a small model's distribution is noise; top_k also spares sorting the whole vocabulary for every token.
  const Sampling sampling{.temperature = 1, .top_p = 0.95, .top_k = 64};

  std::vector<Text> texts(static_cast<size_t>(size.texts));
  for (Text& text : texts) text.origin = fmt::format("self-sampled, seed {}", size.seed);
  const int total = size.texts * passages;
  for (int done = 0; done < total; done += at_once) {
    const int count = std::min(at_once, total - done);
    std::vector<std::vector<int32_t>> prompts;
    for (int i = 0; i < count; ++i) prompts.push_back(begun[static_cast<size_t>(done + i) % begun.size()]);
    const auto sampled = sample_batch(model, prompts, length, sampling, first_seed + static_cast<uint64_t>(done),
                                      banned, [&](int steps) {
                                        if (progress)
                                          progress((done + static_cast<double>(steps) / (length - 1) * count) / total);
                                      });
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t>& tokens = texts[static_cast<size_t>((done + i) / passages)].tokens;
      const std::vector<int32_t>& passage = sampled[static_cast<size_t>(i)];
      tokens.insert(tokens.end(), passage.begin(), passage.end());
    }
  }
  for (Text& text : texts) text.tokens.resize(static_cast<size_t>(size.tokens));
  return texts;
}

}  // namespace kvpareto
