#pragma once
// tokenizer.json of Hugging Face's tokenizers, as the Llama, Mistral and Qwen families use it: BPE over bytes (GPT-2's
// alphabet) or over characters with byte fallback, normalizers NFC, Prepend and Replace, pre-tokenizers Split,
// ByteLevel, Digits and Metaspace, alone or in sequence. Whatever else a file asks for is refused by its name.

#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace kvpareto {

// Throws Error (kFailure), one line that begins with `path`.
Vocabulary parse_tokenizer_json(std::string_view json, const std::string& path);

}  // namespace kvpareto
