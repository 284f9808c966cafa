#pragma once
// What a tokenizer is made of. GGUF files hold these fields as they are; tokenizer.json is read into them.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "text/pre_tokenizers.h"

namespace kvpareto {

struct Vocabulary {
  // "gpt2": byte-level BPE, tokens in the byte alphabet of GPT-2. "llama": SentencePiece's BPE, tokens in UTF-8 with
  // U+2581 for a space, and bytes <0x00> to <0xFF> for characters that no token has. Others are refused with a reason.
  std::string model;
  std::string pre_tokenizer;  // "smollm", "qwen2", "llama-bpe"; if `rules` does not say it all
  std::optional<TextRules> rules;
  std::vector<std::string> tokens;
  std::vector<std::string> merges;   // "left right", best first
  std::vector<float> scores;         // "llama" without merges: of each token, the higher, the earlier merged
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
                                     // Tokens written as they are that take in the white space before / behind them.
  std::set<int32_t> strip_left, strip_right;
  std::set<int32_t> single_word;  // of these tokens those that are not found beside characters of a word
  std::optional<int32_t> beginning, end, unknown;
  std::vector<int32_t> more_ends;  // tokens that end an answer beside `end`
  bool add_beginning = false;
  bool add_space = true;  // "llama" without rules: a space before every piece of text
};

}  // namespace kvpareto
