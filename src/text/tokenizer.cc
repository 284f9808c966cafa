#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/merge_list.h"
#include "text/piece_alphabet.h"
#include "text/special_tokens.h"
#include "text/unicode.h"

namespace kvpareto {

namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };

// Where the families we know end an answer, besides the one end token that a model file names.
constexpr std::string_view kEndNames[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"};

constexpr std::string_view kByteLevel = "gpt2", kPieces = "llama";

// Before anything is built from them: sizes and ids that later code relies on.
void check(const Vocabulary& vocabulary) {
  if (vocabulary.model != kByteLevel && vocabulary.model != kPieces) {
    fail("tokenizer model '{}' is not supported; known are gpt2 (byte-level BPE), llama (SentencePiece BPE)",
         shown(vocabulary.model));
  }
  const size_t count = vocabulary.tokens.size();
  if (count == 0) fail("the tokenizer has no tokens");
  if (count > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    fail("the tokenizer has {} tokens, more than 2^31", count);
  if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != count) {
    fail("the tokenizer has {} token types for {} tokens", vocabulary.token_types.size(), count);
  }
  for (size_t i = 0; i < vocabulary.token_types.size(); ++i) {
    const int32_t type = vocabulary.token_types[i];
    if (type < kNormal || type > kByte) fail("token {} of the tokenizer has type {}; known are 1 to 6", i, type);
  }
  const auto check_id = [count](const char* what, std::optional<int32_t> id) {
    if (!id || (*id >= 0 && static_cast<size_t>(*id) < count)) return;
    fail("the {} token of the tokenizer is {}; its ids are 0 to {}", what, *id, count - 1);
  };
  check_id("beginning", vocabulary.beginning);
  check_id("end", vocabulary.end);
  check_id("unknown", vocabulary.unknown);
  for (const int32_t end : vocabulary.more_ends) check_id("end", end);
  if (vocabulary.add_beginning && !vocabulary.beginning) fail("the tokenizer adds a beginning token but names none");
}

TokenIds number(const std::vector<std::string>& tokens) {
  TokenIds ids;
  ids.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto [at, is_new] = ids.emplace(tokens[i], static_cast<int32_t>(i));
    if (!is_new) fail("tokens {} and {} of the tokenizer are both '{}'", at->second, i, shown(tokens[i]));
  }
  return ids;
}

// The rules that a vocabulary means by its names.
TextRules rules_of(const Vocabulary& vocabulary) {
  if (vocabulary.rules) return *vocabulary.rules;
  if (vocabulary.model == kByteLevel) return find_pre_tokenizer(vocabulary.pre_tokenizer);
  return {.space = std::string(kPieceSpace), .prefix = vocabulary.add_space ? Prefix::kEveryPiece : Prefix::kNone};
}

}  // namespace

struct Tokenizer::Parts {
  Vocabulary vocabulary;
  bool byte_level;
  TextRules rules;
  TokenIds ids;
  Merges merges;
  Splitter splitter;
  SpecialTokens user_defined, all_special;
  std::array<int32_t, 256> byte_ids;  // -1: the vocabulary lacks this byte
  std::vector<bool> ends;             // by token

  explicit Parts(Vocabulary given)
      : vocabulary((check(given), std::move(given))),
        byte_level(vocabulary.model == kByteLevel),
        rules(rules_of(vocabulary)),
        ids(number(vocabulary.tokens)),
        merges(byte_level || !vocabulary.merges.empty() ? listed_merges(vocabulary, ids)
                                                        : scored_merges(vocabulary, ids)),
        splitter(rules),
        user_defined(written_as_they_are(false)),
        all_special(written_as_they_are(true)),
        ends(vocabulary.tokens.size()) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto value = static_cast<uint8_t>(byte);
      byte_ids[byte] = find(byte_level ? byte_character(value) : byte_piece(value)).value_or(-1);
    }
    if (vocabulary.end) ends[*vocabulary.end] = true;
    for (const int32_t end : vocabulary.more_ends) ends[end] = true;
    for (std::string_view name : kEndNames) {
      if (const auto id = find(name); id && is_literal(*id)) ends[*id] = true;
    }
  }

  int32_t type(int32_t token) const { return vocabulary.token_types.empty() ? kNormal : vocabulary.token_types[token]; }
  bool is_control(int32_t token) const { return type(token) == kControl || type(token) == kUnknown; }
  // Whether the token's text is meant as it stands, not in the byte alphabet.
  bool is_literal(int32_t token) const { return is_control(token) || type(token) == kUserDefined; }

  std::optional<int32_t> find(std::string_view token) const {
    const auto found = ids.find(token);
    return found == ids.end() ? std::nullopt : std::optional(found->second);
  }

  SpecialTokens written_as_they_are(bool with_control) const {
    std::vector<std::pair<std::string_view, int32_t>> tokens;
    for (int32_t i = 0; i < static_cast<int32_t>(vocabulary.tokens.size()); ++i) {
      if (is_literal(i) && (with_control || !is_control(i))) tokens.emplace_back(vocabulary.tokens[i], i);
    }
    return SpecialTokens(std::move(tokens));
  }

  std::string written(std::string_view word) const;
  std::vector<int32_t> bytes_of_word(std::string_view word) const;
  std::vector<int32_t> characters_of_word(std::string_view word) const;
  void encode_word(std::string_view word, std::vector<int32_t>& out) const;
  void encode_plain(std::string_view text, bool first, std::vector<int32_t>& out) const;
  SpecialTokens::Found find_alone(const SpecialTokens& special, std::string_view text, size_t from) const;
};

// In the vocabulary's alphabet.
std::string Tokenizer::Parts::written(std::string_view word) const {
  if (!byte_level) return std::string(word);
  std::string text;
  for (char c : word) text += byte_character(static_cast<uint8_t>(c));
  return text;
}

std::vector<int32_t> Tokenizer::Parts::bytes_of_word(std::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  for (char c : word) {
    const int32_t id = byte_ids[static_cast<uint8_t>(c)];
    if (id >= 0) symbols.push_back(id);
  }
  return symbols;
}

// A token for each character; those of its bytes where there is none, or the unknown token, once for neighbours.
std::vector<int32_t> Tokenizer::Parts::characters_of_word(std::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  while (!word.empty()) {
    const std::string_view character = word.substr(0, std::max<size_t>(character_size(word), 1));
    word.remove_prefix(character.size());
    if (const auto id = find(character); id && !is_control(*id)) {
      symbols.push_back(*id);
      continue;
    }
    const std::vector<int32_t> bytes = bytes_of_word(character);
    if (bytes.size() == character.size()) {
      symbols.insert(symbols.end(), bytes.begin(), bytes.end());
    } else if (vocabulary.unknown && (symbols.empty() || symbols.back() != *vocabulary.unknown)) {
      symbols.push_back(*vocabulary.unknown);
    }
  }
  return symbols;
}

void Tokenizer::Parts::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  if (rules.whole_words) {
    if (const auto whole = find(written(word)); whole && !is_literal(*whole)) return out.push_back(*whole);
  }
  merges.merge(byte_level ? bytes_of_word(word) : characters_of_word(word), out);
}

void Tokenizer::Parts::encode_plain(std::string_view text, bool first, std::vector<int32_t>& out) const {
  const bool as_it_is = !rules.compose && rules.space.empty();
  const std::string changed = as_it_is ? std::string() : prepared(rules, text, first);
  for (std::string_view word : splitter.split(as_it_is ? text : changed)) encode_word(word, out);
}

// The next special token that is not part of a word where it may not be; what is passed over hides what overlaps it,
// as in the tokenizers package.
SpecialTokens::Found Tokenizer::Parts::find_alone(const SpecialTokens& special, std::string_view text,
                                                  size_t from) const {
  for (;;) {
    const SpecialTokens::Found found = special.find(text, from);
    if (found.size == 0 || !vocabulary.single_word.contains(found.token)) return found;
    const size_t end = found.begin + found.size;
    if (!ends_with_word(text.substr(0, found.begin)) && !starts_with_word(text.substr(end))) return found;
    from = end;
  }
}

Tokenizer::Tokenizer(Vocabulary vocabulary) : parts_(std::make_unique<Parts>(std::move(vocabulary))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special, bool add_beginning) const {
  if (text.size() > std::numeric_limits<int32_t>::max())
    fail("a text of {} bytes is too long; at most 2 GiB", text.size());
  std::vector<int32_t> out;
  if (add_beginning && parts_->vocabulary.add_beginning) out.push_back(*parts_->vocabulary.beginning);
  const SpecialTokens& special = parse_special ? parts_->all_special : parts_->user_defined;
  for (size_t done = 0; done < text.size();) {
    const SpecialTokens::Found found = parts_->find_alone(special, text, done);
    if (found.size == 0) {
      parts_->encode_plain(text.substr(done), done == 0, out);
      break;
    }
    const std::string_view before = text.substr(done, found.begin - done),
                           behind = text.substr(found.begin + found.size);
    const Vocabulary& vocabulary = parts_->vocabulary;
    const size_t left = vocabulary.strip_left.contains(found.token) ? white_space_at_end(before) : 0;
    const size_t right = vocabulary.strip_right.contains(found.token) ? white_space_at_start(behind) : 0;
    parts_->encode_plain(before.substr(0, before.size() - left), done == 0, out);
    out.push_back(found.token);
    done = found.begin + found.size + right;
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> tokens, bool show_special) const {
  std::string text;
  for (int32_t token : tokens) {
    if (token < 0 || token >= size())
      fail("token {} cannot be decoded; the tokenizer's ids are 0 to {}", token, size() - 1);
    if (parts_->is_control(token) && !show_special) continue;
    const std::string& written = parts_->vocabulary.tokens[token];
    if (parts_->is_literal(token)) {
      text += written;
    } else {
      text += parts_->byte_level ? bytes_of_token(written) : text_of_piece(written);
    }
  }
  return text;
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(parts_->vocabulary.tokens.size()); }

std::optional<int32_t> Tokenizer::find(std::string_view token) const { return parts_->find(token); }

std::string Tokenizer::beginning_text() const {
  const auto& beginning = parts_->vocabulary.beginning;
  return beginning ? parts_->vocabulary.tokens[*beginning] : "";
}
std::string Tokenizer::end_text() const {
  const auto& end = parts_->vocabulary.end;
  return end ? parts_->vocabulary.tokens[*end] : "";
}

bool Tokenizer::is_end(int32_t token) const { return token >= 0 && token < size() && parts_->ends[token]; }

}  // namespace kvpareto
