#pragma once
// What a Hugging Face folder says of its tokenizer, beside tokenizer.json itself, which text/tokenizer_json.h reads.

#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/formats/hf_config.h"

namespace kvpareto {

// Throws Error (kFailure) where a file is unsound or tokenizer.json is missing.
VocabularyData read_hf_vocabulary(const std::string& folder, const HfConfig& config);

}  // namespace kvpareto
