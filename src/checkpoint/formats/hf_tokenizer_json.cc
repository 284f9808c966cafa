#include "checkpoint/formats/hf_tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kvpareto {
namespace {

using nlohmann::json;

constexpr int32_t kControl = 3, kUserDefined = 4;

// cl100k_base of tiktoken with so many digits a word, as the tokenizers of these families write it.
std::string words_with_digits(const std::string& digits) {
  return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
}

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

json split_words(const std::string& pattern) {
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(false)}}};
}

struct Rules {
  json normalizer, pre_tokenizer;
  bool whole_words = false;
};

Rules rules_of(const VocabularyData& vocabulary, const std::string& path) {
  const std::string& name = vocabulary.pre_tokenizer;
  if (name == "smollm") {
    const json digits = {{"type", "Digits"}, {"individual_digits", true}};
    return {nullptr, {{"type", "Sequence"}, {"pretokenizers", {digits, byte_level(true)}}}};
  }
  if (name == "qwen2") return {{{"type", "NFC"}}, split_words(words_with_digits("\\p{N}"))};
  if (name == "llama-bpe") return {nullptr, split_words(words_with_digits("\\p{N}{1,3}")), true};
  fail(
      "{}: the pre-tokenizer '{}' cannot be written as tokenizer.json; quantize the model's Hugging Face folder "
      "instead",
      path, name);
}

// Puts the beginning token before every text.
json beginning_processor(const VocabularyData& vocabulary) {
  const int32_t id = *vocabulary.beginning;
  const std::string& token = vocabulary.tokens.at(static_cast<size_t>(id));
  const json special = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  const json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  return {{"type", "TemplateProcessing"},
          {"single", {special, first}},
          {"pair", {special, first, special, second}},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

}  // namespace

json tokenizer_json_of(const VocabularyData& vocabulary, const std::string& path) {
  if (vocabulary.model != "gpt2") {
    fail(
        "{}: a vocabulary of kind '{}' cannot be written as tokenizer.json; quantize the model's Hugging Face folder "
        "instead",
        path, vocabulary.model);
  }
  const Rules rules = rules_of(vocabulary, path);
  json added = json::array(), words = json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int32_t type = id < vocabulary.token_types.size() ? vocabulary.token_types[id] : 1;
    if (type != kControl && type != kUserDefined) {
      words[vocabulary.tokens[id]] = id;
      continue;
    }
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type == kControl}});
  }
  const bool begins = vocabulary.adds_beginning.value_or(false) && vocabulary.beginning.has_value();
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", rules.normalizer},
          {"pre_tokenizer", rules.pre_tokenizer},
          {"post_processor", begins ? beginning_processor(vocabulary) : byte_level(false)},
          {"decoder", byte_level(false)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", rules.whole_words},
            {"vocab", words},
            {"merges", vocabulary.merges}}}};
}

}  // namespace kvpareto
