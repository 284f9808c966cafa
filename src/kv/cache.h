#pragma once
// Keys and values of one sequence, packed as the scheme says. The verbs keep storage a secret: there is no fetch.

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "kv/layout.h"
#include "kv/scheme.h"
#include "tensor/tensor.h"

namespace kvpareto {

class KvCache {
 public:
  // What a later rewind needs. Blocks only grow, so the count is enough while every group lies inside one token.
  struct Mark {
    int64_t tokens = 0;
  };

  // Allocates everything at once. Throws Error: a scheme that why_invalid() refuses, or no memory.
  KvCache(Backend& backend, const KvScheme& scheme, const CacheShape& shape);

  // keys, values: f32 [tokens, kv_heads, head_dim]. Layers are appended in order; the last layer's append completes the step.
  // Throws Error (kUsage) past the context.
  void append(int layer, Tensor keys, Tensor values);
  // queries, out: [tokens, heads, head_dim], the newest `tokens` positions, causal, scaled by 1/sqrt(head_dim). Reads the
  // packed bytes; `append` of the same layer comes first (pack, then attend). queries f32; out f32 or the activation type.
  void attend(int layer, Tensor queries, Tensor out, Tensor scratch) const;

  Mark mark() const { return {tokens_}; }
  void rewind(const Mark& mark);  // to the state at the mark, bit for bit
  int64_t tokens() const { return tokens_; }
  size_t bytes() const;  // allocated: packed values, scales, minimums
  const KvScheme& scheme() const { return scheme_; }
  const CacheShape& shape() const { return shape_; }

  // The decoded values of one side of one layer, f32 [kv_heads, tokens, head_dim]: for tests, which prove that attention
  // reads exactly these.
  std::vector<float> decoded(int layer, bool keys) const;

 private:
  struct Layer {
    PackedSide keys, values;
    int64_t tokens = 0;
  };
  Backend& backend_;
  KvScheme scheme_;
  CacheShape shape_;
  Buffer storage_;
  std::vector<Layer> layers_;
  int64_t tokens_ = 0;
};

}  // namespace kvpareto
