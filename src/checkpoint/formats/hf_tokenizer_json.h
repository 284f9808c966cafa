#pragma once
// tokenizer.json of Hugging Face's tokenizers, made of the vocabulary of a GGUF file.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "checkpoint/checkpoint.h"

namespace kvpareto {

// Byte-level BPE with the pre-tokenizers that this program knows. Throws Error (kFailure) beginning with `path` for
// others.
nlohmann::json tokenizer_json_of(const VocabularyData& vocabulary, const std::string& path);

}  // namespace kvpareto
