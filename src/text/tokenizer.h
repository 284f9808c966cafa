#pragma once
// Tokens from text and back.
//
// To add a pre-tokenizer of GGUF files: one row in the table of pre_tokenizers.cc (its name and its regular
// expression).

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace kvpareto {

class Tokenizer {
 public:
  // Throws Error (kFailure) if the vocabulary is inconsistent (a merge of unknown tokens, ids out of range) or of a
  // kind that this program does not know; the message lists the known kinds.
  explicit Tokenizer(Vocabulary vocabulary);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // `parse_special`: control tokens written in the text ("<|im_end|>") become their ids; otherwise they are plain text.
  // `add_beginning`: the beginning-of-text token comes first if the model wants one. Any bytes are accepted, and
  // decode() gives them back, except that qwen2 composes characters (normalization form C), that SentencePiece's
  // vocabularies put a space before a text, and that a byte for which the vocabulary has no token is dropped, as by
  // Hugging Face's tokenizers (SmolLM2 lacks 21, 0x04 for one).
  std::vector<int32_t> encode(std::string_view text, bool parse_special, bool add_beginning) const;
  // The bytes that the tokens add to a text; control tokens give their text only if `show_special`. Ids out of range
  // throw Error.
  std::string decode(std::span<const int32_t> tokens, bool show_special = false) const;

  int32_t size() const;
  std::optional<int32_t> find(std::string_view token) const;  // by its text in the vocabulary
  // Whether generation ends at this token (end of text, end of turn).
  bool is_end(int32_t token) const;
  // As the vocabulary writes the tokens that begin and end a text; empty if it names none.
  std::string beginning_text() const;
  std::string end_text() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
