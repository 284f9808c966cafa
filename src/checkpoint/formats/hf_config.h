#pragma once
// config.json of a Hugging Face folder in the words of GGUF's metadata: "num_hidden_layers" is "block_count". What the
// configuration asks for beyond what those words can say is refused.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/weight_codec.h"

namespace kvpareto {

struct HfConfig {
  std::string architecture;  // model_type
  std::map<std::string, double, std::less<>> numbers;
  std::map<std::string, std::string, std::less<>> texts;
  bool tied = false;          // the output head is the embedding
  int64_t vocabulary = 0;     // rows of the embedding; 0 if it does not say
  std::vector<int32_t> ends;  // eos_token_id
  std::optional<int32_t> beginning;
  // What quantization_config says: one format of all quantized matrices (AWQ, arXiv 2306.00978), or one of each by
  // GGUF's name without ".weight" (this program's own layout; packed_weights.h).
  std::optional<WeightFormat> awq;
  std::map<std::string, WeightFormat, std::less<>> formats;
};

// `text` of the file at `path`. Throws Error (kFailure) in one line.
HfConfig parse_hf_config(std::string_view text, const std::string& path);

// GGUF's name of a tensor ("model.layers.3.self_attn.q_proj.weight" is "blk.3.attn_q.weight"); other names as they are.
// Empty for what a model does not need (a table of rotary frequencies).
std::string gguf_tensor_name(std::string_view name);
// Its inverse.
std::string hf_tensor_name(std::string_view name);

// eos_token_id of config.json and generation_config.json: a token or several; empty if it is missing or null.
struct EndTokens {
  std::vector<int32_t> ends;
  std::optional<int32_t> beginning;
};
EndTokens parse_end_tokens(std::string_view text, const std::string& path);

}  // namespace kvpareto
