#pragma once
// The sizes and constants of one architecture, read from the file's metadata before any weight is.

#include <cstdint>
#include <string>

#include "checkpoint/checkpoint.h"
#include "kv/layout.h"

namespace kvpareto {

struct ModelShape {
  std::string family;  // "llama", "qwen2", "qwen3", ...
  int layers = 0;
  int hidden = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;      // read from the file: not hidden / heads in several families
  int feed_forward = 0;  // width of the gated MLP
  int vocabulary = 0;
  int context = 0;  // tokens the model can see: what it was trained for, at most its window
  int window = 0;   // tokens that a token attends to at most, itself included; 0: all
  Rope rope;
  float norm_epsilon = 1e-5f;
  bool qkv_bias = false;
  bool query_key_norm = false;
  bool tied = false;  // the output head is the embedding

  int qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
  // Of a cache for `tokens`, appended by at most `step` at once.
  CacheShape cache_shape(int tokens, int step = 1) const { return {layers, kv_heads, head_dim, tokens, step, rope}; }
};

// Throws Error (kFailure): unknown architecture (the known ones listed), missing or absurd sizes, tensors whose shape
// contradicts the metadata.
ModelShape read_shape(const Checkpoint& checkpoint);

}  // namespace kvpareto
