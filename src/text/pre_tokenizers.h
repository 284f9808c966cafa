#pragma once
// How a text is cut into words before byte pairs merge: no token reaches over a cut.
//
// To add a pre-tokenizer: one row in the table of pre_tokenizers.cc.
//
// Which characters are letters or digits is up to the PCRE2 of the system. With 10.42 (Unicode 14) every code point is
// cut as by Hugging Face's tokenizers 0.23 but for those that came with Unicode 15 and later. Normalization has newer
// tables than theirs: 80 rare combining marks, which theirs do not know, are put in order here.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

struct PreTokenizer {
  std::string_view name;              // as `tokenizer.ggml.pre` of a GGUF file has it
  std::vector<const char*> patterns;  // PCRE2; each cuts the pieces that the one before left
  bool compose = false;               // the text is brought to normalization form C first
  bool whole_words = false;           // a word that is a token is taken as it is, whatever the merges say
};

// Throws Error (kFailure) naming the known ones if there is none of this name.
const PreTokenizer& find_pre_tokenizer(std::string_view name);

// The patterns of one pre-tokenizer, compiled. May be used by several threads at once.
class Splitter {
 public:
  explicit Splitter(const PreTokenizer& pre_tokenizer);
  ~Splitter();
  Splitter(Splitter&&) noexcept;
  Splitter& operator=(Splitter&&) noexcept;

  // The words of `text` in order, none empty; together they are the whole text, whatever its bytes. Each match is a
  // word, and so is what lies between two matches. A stretch of invalid UTF-8 is a word of its own.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
