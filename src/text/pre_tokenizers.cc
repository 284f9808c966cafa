#include "text/pre_tokenizers.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "text/unicode.h"

namespace kvpareto {

namespace {

// \s of PCRE2 has U+180E, which Unicode took out of the white space in 6.3 and Oniguruma (under Hugging Face's
// tokenizers) does not have: hence \p{White_Space}.
#define SPACE "\\p{White_Space}"
#define VISIBLE "\\P{White_Space}"

// GPT-2 (Radford et al. 2019). Contractions in lower case only.
constexpr const char* kGpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" SPACE "+(?!" VISIBLE ")|" SPACE "+";

// cl100k_base of tiktoken and its offspring: they differ in how many digits a word may have.
#define WORDS_WITH_DIGITS(digits)                                                                                     \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*|" SPACE \
  "*[\\r\\n]+|" SPACE "+(?!" VISIBLE ")|" SPACE "+"

struct NamedRules {
  std::string_view name;
  TextRules rules;
};
const std::vector<NamedRules>& named_rules() {
  static const std::vector<NamedRules> table = {
      {"smollm", {.patterns = {"\\p{N}", kGpt2}}},
      {"qwen2", {.compose = true, .patterns = {WORDS_WITH_DIGITS("\\p{N}")}}},
      {"llama-bpe", {.patterns = {WORDS_WITH_DIGITS("\\p{N}{1,3}")}, .whole_words = true}},
  };
  return table;
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;
using Words = std::vector<std::string_view>;

Code compile(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error,
                          &offset, nullptr));
  if (!code) fail("PCRE2 does not accept the pattern '{}' (error {} at {})", shown(pattern), error, offset);
  // A system that forbids executable memory leaves the interpreter: slower, same words.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

void add_word(std::string_view word, Words& words) {
  if (!word.empty()) words.push_back(word);
}

// `text` is valid UTF-8: PCRE2 would check all of it again at every match.
void split_valid(const pcre2_code* code, pcre2_match_data* match, std::string_view text, Words& words) {
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
  size_t done = 0;
  while (done < text.size()) {
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), done,
                                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match, nullptr);
    if (found < 0) break;  // no match, or one of PCRE2's limits: what is left is one word
    add_word(text.substr(done, ends[0] - done), words);
    add_word(text.substr(ends[0], ends[1] - ends[0]), words);
    done = ends[1];
  }
  add_word(text.substr(done), words);
}

}  // namespace

const TextRules& find_pre_tokenizer(std::string_view name) {
  std::vector<std::string> known;
  for (const NamedRules& row : named_rules()) {
    if (row.name == name) return row.rules;
    known.emplace_back(row.name);
  }
  fail("pre-tokenizer '{}' is not supported; known are {} (nearest: {})", shown(name), join(known, ", "),
       nearest(name.substr(0, 100), known));
}

std::string_view gpt2_pattern() { return kGpt2; }

std::string pcre2_pattern(std::string_view oniguruma) {
  std::string pattern;
  for (size_t i = 0; i < oniguruma.size(); ++i) {
    const std::string_view pair = oniguruma.substr(i, 2);
    if (pair == "\\s") {
      pattern += SPACE;
    } else if (pair == "\\S") {
      pattern += VISIBLE;
    } else {
      pattern += pair[0] == '\\' ? pair : pair.substr(0, 1);
    }
    if (pair[0] == '\\') ++i;
  }
  return pattern;
}

std::string prepared(const TextRules& rules, std::string_view text, bool first) {
  std::string out = rules.compose ? compose(text) : std::string(text);
  if (rules.space.empty()) return out;
  std::string spaced;
  spaced.reserve(out.size() + rules.space.size());
  for (const char c : out) c == ' ' ? void(spaced += rules.space) : spaced.push_back(c);
  const bool there = spaced.starts_with(rules.space);
  const bool wanted = rules.prefix == Prefix::kEveryPiece || (rules.prefix == Prefix::kFirst && first && !there) ||
                      (rules.prefix == Prefix::kUnlessThere && !there);
  return wanted && !spaced.empty() ? rules.space + spaced : spaced;
}

struct Splitter::Parts {
  std::vector<Code> codes;
};

Splitter::Splitter(const TextRules& rules) : parts_(std::make_unique<Parts>()) {
  for (const std::string& pattern : rules.patterns) parts_->codes.push_back(compile(pattern));
}
Splitter::~Splitter() = default;
Splitter::Splitter(Splitter&&) noexcept = default;
Splitter& Splitter::operator=(Splitter&&) noexcept = default;

std::vector<std::string_view> Splitter::split(std::string_view text) const {
  const Match match(pcre2_match_data_create(1, nullptr));
  if (!match) throw std::bad_alloc();
  Words words;
  while (!text.empty()) {
    const size_t valid = valid_prefix(text);
    Words pieces;
    add_word(text.substr(0, valid), pieces);
    for (const Code& code : parts_->codes) {
      Words cut;
      cut.reserve(pieces.size());
      for (std::string_view piece : pieces) split_valid(code.get(), match.get(), piece, cut);
      pieces.swap(cut);
    }
    words.insert(words.end(), pieces.begin(), pieces.end());
    text.remove_prefix(valid);
    const size_t invalid = invalid_prefix(text);
    add_word(text.substr(0, invalid), words);
    text.remove_prefix(invalid);
  }
  return words;
}

}  // namespace kvpareto
