#include "kv/layout.h"

namespace kvpareto {
namespace {
size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
}  // namespace

PackedSide side_layout(const SideScheme& scheme, const CacheShape& shape) {
  PackedSide side;
  side.codec = scheme.codec;
  side.head_dim = shape.head_dim;
  side.group = scheme.group == kWholeHead || !has_scale(scheme.codec) ? shape.head_dim : scheme.group;
  side.row_bytes = static_cast<size_t>(shape.head_dim / kChunk) * chunk_bytes(scheme.codec);
  const size_t codes = side.row_bytes * kBlockTokens;
  const size_t metadata = has_scale(scheme.codec) ? sizeof(f16) * static_cast<size_t>(side.groups()) * kBlockTokens : 0;
  side.scales_offset = codes;
  side.minimums_offset = codes + metadata;
  side.block_bytes = aligned(codes + 2 * metadata);
  const auto blocks = static_cast<size_t>((shape.context + kBlockTokens - 1) / kBlockTokens);
  side.head_bytes = side.block_bytes * blocks;
  return side;
}

size_t side_bytes(const SideScheme& scheme, const CacheShape& shape) {
  return side_layout(scheme, shape).head_bytes * static_cast<size_t>(shape.kv_heads);
}

size_t cache_bytes(const KvScheme& scheme, const CacheShape& shape) {
  size_t bytes = 0;
  for (int layer = 0; layer < shape.layers; ++layer) {
    bytes += side_bytes(scheme.at(layer).keys, shape) + side_bytes(scheme.at(layer).values, shape);
  }
  return bytes;
}

}  // namespace kvpareto
