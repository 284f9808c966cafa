#pragma once
// Keys and values of one sequence, packed as the scheme says. The verbs keep storage a secret: there is no fetch.

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "kv/layout.h"
#include "kv/scheme.h"
#include "tensor/tensor.h"

namespace kvpareto {

// Biases of the projections of one layer, f32 [kv_heads * head_dim] each; empty where there are none.
struct KvBias {
  std::span<const float> keys, values;
};

class KvCache {
 public:
  // What a later rewind needs: counts, and a copy of the exact tails, since a group may be packed in the meantime.
  struct Mark {
    int64_t tokens = 0;
    std::vector<int64_t> closed = {};  // of every side: layer by layer, keys before values; empty at the very start
    std::vector<uint8_t> exact = {};   // their tails, sinks and counters
  };

  // Allocates everything at once. `biases`: a layer each, or none. Throws Error: a scheme that why_invalid() refuses,
  // or no memory.
  KvCache(Backend& backend, const KvScheme& scheme, const CacheShape& shape, std::span<const KvBias> biases = {});

  // keys, values: f32 [tokens, kv_heads, head_dim], keys before RoPE; both are overwritten. turns: cosines and sines of
  // the tokens' positions, as Backend::rope() takes them. Layers are appended in order; the last layer's append
  // completes the step. Throws Error (kUsage) past the context.
  void append(int layer, Tensor keys, Tensor values, const float* turns);
  // queries, out: [tokens, heads, head_dim], the newest `tokens` positions, causal, scaled by 1/sqrt(head_dim). Reads
  // the packed bytes; `append` of the same layer comes first. queries f32, may be overwritten; out f32 or the
  // activation type.
  void attend(int layer, Tensor queries, Tensor out, Tensor scratch) const;

  Mark mark() const;
  void rewind(const Mark& mark);  // to the state at the mark, bit for bit
  // Becomes another cache's equal, bit for bit. Throws std::invalid_argument unless both have one scheme and one shape.
  void copy(const KvCache& other);
  int64_t tokens() const { return tokens_; }
  size_t bytes() const;  // allocated: packed values, scales, minimums, exact tokens, offsets
  // Where a layer has one scale: the share of the values packed with it that lay outside its frozen range. 0 elsewhere.
  bool has_frozen_scale() const;
  double clamped() const;
  const KvScheme& scheme() const { return scheme_; }
  const CacheShape& shape() const { return shape_; }

  // The decoded values of one side of one layer as they came in (keys after RoPE), f32 [kv_heads, tokens, head_dim]:
  // for tests, which prove that attention reads exactly these.
  std::vector<float> decoded(int layer, bool keys) const;

 private:
  struct Layer {
    PackedSide keys, values;
    bool key_mean = false, value_mean = false;  // whether the offset is a mean that is to be found
    int64_t tokens = 0;
  };
  void take_bias(const PackedSide& side, std::span<const float> bias) const;
  void store(PackedSide& side, bool mean, Tensor x, int64_t first);
  void store_settled(PackedSide& side, Tensor x, int64_t first);
  template <typename Visit>
  void each_side(Visit visit);

  Backend& backend_;
  KvScheme scheme_;
  CacheShape shape_;
  Buffer storage_;
  std::vector<Layer> layers_;
  int64_t tokens_ = 0;
};

}  // namespace kvpareto
