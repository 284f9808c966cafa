#pragma once
// How one architecture differs from the common decoder, as data. To add one: a file in families/, a line in the list of
// shape.cc, a tiny checkpoint in testdata/ with golden logits.

#include <string>
#include <string_view>

namespace kvpareto {

struct Family {
  std::string_view architecture;  // as the file names it
  bool qkv_bias = false;
  // Every head's query and key is normalized (RMS, one weight vector a layer) before it is turned.
  bool query_key_norm = false;
  // GGUF stores the rows of attn_q and attn_k of some architectures with the two halves of each head interleaved (pairs
  // side by side). They are read back in half-split order, which the paper's figures and every other family use.
  bool interleaved_in_gguf = false;
};

extern const Family kLlama;    // families/llama.cc
extern const Family kMistral;  // families/mistral.cc
extern const Family kQwen2;    // families/qwen2.cc
extern const Family kQwen3;    // families/qwen3.cc

// Throws Error (kFailure) listing the known architectures.
const Family& find_family(std::string_view architecture, const std::string& path);

}  // namespace kvpareto
