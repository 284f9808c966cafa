#include "eval/prompt.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "text/chat.h"

namespace kvpareto {
namespace {

std::string rendered(const Sample& sample, const std::string& prompt, const Tokenizer& tokenizer,
                     const std::string& chat_template) {
  if (!sample.chat) return prompt + sample.answer_prefix;
  const Message message{"user", prompt};
  return render_chat(chat_template, {&message, 1}, chat_tokens(tokenizer)) + sample.answer_prefix;
}

// A template writes the beginning token itself if the model wants one.
std::vector<int32_t> encode(const Sample& sample, const std::string& text, const Tokenizer& tokenizer,
                            const std::string& chat_template) {
  return tokenizer.encode(text, true, !sample.chat || chat_template.empty());
}

// Leading tokens that stand for no more than the first `bytes` of the text.
size_t tokens_within(std::span<const int32_t> tokens, size_t bytes, const Tokenizer& tokenizer) {
  size_t count = 0, seen = 0;
  for (; count < tokens.size(); ++count) {
    seen += tokenizer.decode(tokens.subspan(count, 1), true).size();
    if (seen > bytes) break;
  }
  return count;
}

int most_answer_tokens(const Sample& sample, const Prompt& prompt) {
  size_t most = prompt.gold.size();
  for (const auto& choice : prompt.choices) most = std::max(most, choice.size());
  if (const auto* generate = std::get_if<Generate>(&sample.request)) {
    most = std::max(most, static_cast<size_t>(generate->max_tokens));
  }
  return static_cast<int>(most);
}

// The prompt without its middle, so that it fits.
std::string shorten(const Sample& sample, const Tokenizer& tokenizer, const std::string& chat_template, size_t most) {
  const std::vector<int32_t> all = tokenizer.encode(sample.prompt, false, false);
  const auto shown = [&](const std::string& prompt) {
    return encode(sample, rendered(sample, prompt, tokenizer, chat_template), tokenizer, chat_template).size();
  };
  const size_t around = shown("");
  size_t kept = most > around ? std::min(all.size(), most - around) : 0;
  while (kept >= 2) {
    const std::span<const int32_t> tokens(all);
    std::string prompt = tokenizer.decode(tokens.first(kept / 2)) + tokenizer.decode(tokens.last(kept / 2));
    // What met at the cut may need a few tokens more than before.
    const size_t found = shown(prompt);
    if (found <= most) return prompt;
    kept -= std::min(kept, found - most);
  }
  fail_usage("wanted room for a shortened prompt, found {} tokens", most);
}

}  // namespace

std::vector<int32_t> shown_tokens(const Sample& sample, const Tokenizer& tokenizer, const std::string& chat_template) {
  return encode(sample, rendered(sample, sample.prompt, tokenizer, chat_template), tokenizer, chat_template);
}

Prompt make_prompt(const Sample& sample, const Tokenizer& tokenizer, const std::string& chat_template, int longest) {
  Prompt result;
  if (const auto* read = std::get_if<Read>(&sample.request)) {
    result.tokens = read->tokens;
    if (result.tokens.size() < 2) fail("wanted texts of at least 2 tokens, found {}", result.tokens.size());
  } else {
    result.gold = tokenizer.encode(sample.gold, false, false);
    if (result.gold.empty()) fail("the tokenizer makes no token of the answer '{}'", sample.gold);
    if (const auto* choose = std::get_if<Choose>(&sample.request)) {
      for (const std::string& choice : choose->choices) {
        result.choices.push_back(tokenizer.encode(choice, false, false));
        if (result.choices.back().empty()) fail("the tokenizer makes no token of the choice '{}'", choice);
      }
    }
    result.tokens = shown_tokens(sample, tokenizer, chat_template);
  }
  result.most_answer = most_answer_tokens(sample, result);
  const int room = longest - result.most_answer;
  if (static_cast<int>(result.tokens.size()) > room) {
    if (!sample.may_shorten || room < 1) {
      fail_usage("wanted samples of at most {} tokens, found one of {} with its answer", longest,
                 result.tokens.size() + static_cast<size_t>(result.most_answer));
    }
    const std::string prompt = shorten(sample, tokenizer, chat_template, static_cast<size_t>(room));
    result.tokens = encode(sample, rendered(sample, prompt, tokenizer, chat_template), tokenizer, chat_template);
    result.shortened = true;
  }
  if (result.tokens.empty()) fail("the tokenizer makes no token of a sample");
  if (sample.shared > 0 && !result.shortened) {
    const size_t before = rendered(sample, sample.prompt, tokenizer, chat_template).find(sample.prompt);
    result.shared = tokens_within(result.tokens, before + sample.shared, tokenizer);
    result.shared = std::min(result.shared, result.tokens.size() - 1);
  }
  return result;
}

std::string sample_fingerprint(const Sample& sample, const Prompt& prompt) {
  uint64_t hash = 0;
  const auto add = [&](const std::vector<int32_t>& ids) {
    hash = hash_bytes(ids.data(), ids.size() * sizeof(int32_t), hash + ids.size());
  };
  add(prompt.tokens);
  add(prompt.gold);
  for (const auto& choice : prompt.choices) add(choice);
  for (const std::string& reference : sample.references) hash = hash_text(reference, hash);
  if (const auto* generate = std::get_if<Generate>(&sample.request)) {
    for (const std::string& stop : generate->stop) hash = hash_text(stop, hash);
    hash += static_cast<uint64_t>(generate->max_tokens);
  }
  return fingerprint(hash ^ prompt.shared);
}

}  // namespace kvpareto
