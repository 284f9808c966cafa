#include "kv/cache.h"

#include <cassert>

#include "base/error.h"

namespace kvpareto {
namespace {

KvScheme checked(const KvScheme& scheme, const CacheShape& shape) {
  const std::string reason = why_invalid(scheme, shape.layers, shape.head_dim);
  if (!reason.empty()) fail_usage("KV scheme {}: {}", to_text(scheme), reason);
  return scheme;
}

}  // namespace

KvCache::KvCache(Backend& backend, const KvScheme& scheme, const CacheShape& shape)
    : backend_(backend), scheme_(checked(scheme, shape)), shape_(shape) {
  storage_ = backend.allocate(cache_bytes(scheme, shape), Purpose::kKv);
  auto* next = storage_.as<uint8_t>();
  for (int layer = 0; layer < shape.layers; ++layer) {
    const LayerScheme& sides = scheme.at(layer);
    Layer placed{side_layout(sides.keys, shape), side_layout(sides.values, shape)};
    placed.keys.data = next;
    next += side_bytes(sides.keys, shape);
    placed.values.data = next;
    next += side_bytes(sides.values, shape);
    layers_.push_back(placed);
  }
}

void KvCache::append(int layer, Tensor keys, Tensor values) {
  Layer& at = layers_[static_cast<size_t>(layer)];
  if (at.tokens + keys.rows() > shape_.context) {
    fail_usage("the sequence would grow to {} tokens, but the context is {}", at.tokens + keys.rows(), shape_.context);
  }
  backend_.pack(keys, at.tokens, at.keys);
  backend_.pack(values, at.tokens, at.values);
  at.tokens += keys.rows();
  if (layer + 1 == shape_.layers) tokens_ = at.tokens;
}

void KvCache::attend(int layer, Tensor queries, Tensor out, Tensor scratch) const {
  const Layer& at = layers_[static_cast<size_t>(layer)];
  assert(at.tokens >= queries.rows());
  backend_.attend(queries, at.tokens - queries.rows(), at.keys, at.values, shape_.kv_heads, out, scratch);
}

void KvCache::rewind(const Mark& mark) {
  assert(mark.tokens <= tokens_);
  tokens_ = mark.tokens;
  for (Layer& layer : layers_) layer.tokens = mark.tokens;
}

size_t KvCache::bytes() const { return storage_.bytes(); }

std::vector<float> KvCache::decoded(int layer, bool keys) const {
  const Layer& at = layers_[static_cast<size_t>(layer)];
  const PackedSide& side = keys ? at.keys : at.values;
  std::vector<float> out(static_cast<size_t>(shape_.kv_heads * at.tokens * shape_.head_dim));
  float* row = out.data();
  for (int head = 0; head < shape_.kv_heads; ++head) {
    for (int64_t token = 0; token < at.tokens; ++token, row += shape_.head_dim) decode_row(side, head, token, row);
  }
  return out;
}

}  // namespace kvpareto
