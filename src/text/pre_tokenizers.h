#pragma once
// How a text is prepared and cut into words before byte pairs merge: no token reaches over a cut. GGUF files name such
// rules (a row in the table of pre_tokenizers.cc); tokenizer.json spells them out (tokenizer_json.h).
//
// Which characters are letters or digits is up to the PCRE2 of the system. With 10.42 (Unicode 14) every code point is
// cut as by Hugging Face's tokenizers 0.23 but for those that came with Unicode 15 and later. Normalization has newer
// tables than theirs: 80 rare combining marks, which theirs do not know, are put in order here.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// Where a vocabulary that writes spaces as characters of their own puts one more.
enum class Prefix {
  kNone,
  kEveryPiece,  // before every piece of text, also behind a control token (SentencePiece's dummy prefix)
  kFirst,       // before the beginning of the text, unless one stands there
  kUnlessThere  // before every piece that does not begin with one
};

struct TextRules {
  bool compose = false;           // the text is brought to normalization form C first
  std::string space = {};         // replaces every space; empty: spaces stay
  Prefix prefix = Prefix::kNone;  // of `space`
  // PCRE2; each cuts the pieces that the one before left: every match is a word, and so is what lies between two.
  std::vector<std::string> patterns = {};
  bool whole_words = false;  // a word that is a token is taken as it is, whatever the merges say
};

// By the name that `tokenizer.ggml.pre` of a GGUF file has. Throws Error (kFailure) naming the known ones if there is
// none of this name.
const TextRules& find_pre_tokenizer(std::string_view name);

// The pattern that ByteLevel of tokenizer.json stands for, GPT-2's.
std::string_view gpt2_pattern();
// A pattern of tokenizer.json as PCRE2 understands it.
std::string pcre2_pattern(std::string_view oniguruma);

// The text with rules.compose, space and prefix applied; `first`: it is the beginning of the whole text.
std::string prepared(const TextRules& rules, std::string_view text, bool first);

// The patterns of the rules, compiled. May be used by several threads at once.
class Splitter {
 public:
  // Throws Error (kFailure) if PCRE2 does not accept a pattern.
  explicit Splitter(const TextRules& rules);
  ~Splitter();
  Splitter(Splitter&&) noexcept;
  Splitter& operator=(Splitter&&) noexcept;

  // The words of `text` in order, none empty; together they are the whole text, whatever its bytes. A stretch of
  // invalid UTF-8 is a word of its own.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
