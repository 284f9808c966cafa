#pragma once
// A Hugging Face folder: config.json, model.safetensors or the shards that model.safetensors.index.json lists,
// tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja.

#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"

namespace kvpareto {

bool is_hf_folder(const std::string& path);

// Throws Error (kFailure) as open_checkpoint does.
std::unique_ptr<Checkpoint> open_hf_folder(const std::string& path);

}  // namespace kvpareto
