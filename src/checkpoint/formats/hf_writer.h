#pragma once
// What a Hugging Face folder needs beside weights, made from a model of any format.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "checkpoint/checkpoint.h"

namespace kvpareto {

// config.json: that of the folder without its quantization_config, or one made of a GGUF file's metadata. `data_type`
// is the torch_dtype that it gets.
nlohmann::json hf_config_of(const Checkpoint& checkpoint, const std::string& data_type);

// Writes tokenizer.json, tokenizer_config.json, generation_config.json and the like into `folder`: copies where the
// model is a folder, else made of the GGUF file's vocabulary. Throws Error (kFailure): a vocabulary that tokenizer.json
// cannot express here, or nothing can be written.
void write_hf_tokenizer(const Checkpoint& checkpoint, const std::string& folder);

}  // namespace kvpareto
