#include "kv/layout.h"

#include <algorithm>

namespace kvpareto {
namespace {

constexpr size_t kAlignment = 64;
size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Hands out parts of one allocation, or only counts them.
class Places {
 public:
  explicit Places(uint8_t* data) : data_(data) {}
  template <typename T>
  T* take(size_t count) {
    T* part = data_ == nullptr ? nullptr : reinterpret_cast<T*>(data_ + used_);
    used_ += aligned(count * sizeof(T));
    return part;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* data_;
  size_t used_ = 0;
};

PackedSide describe(const KvScheme& scheme, const SideScheme& wanted, const CacheShape& shape) {
  PackedSide side;
  const bool scaled = has_scale(wanted.codec);
  side.codec = wanted.codec;
  side.fit = scaled ? wanted.fit : Fit::kRange;
  side.head_dim = shape.head_dim;
  side.kv_heads = shape.kv_heads;
  side.group = wanted.group == kWholeHead || !scaled ? shape.head_dim : wanted.group;
  side.span = scaled ? wanted.span : 1;
  side.block_tokens = std::max(kBlockTokens, side.span);
  side.rotated = wanted.rotated;
  side.before_rope = wanted.before_rope;

  side.row_bytes = static_cast<size_t>(shape.head_dim * bits_of(side.codec) / 8);
  const size_t codes = side.row_bytes * static_cast<size_t>(side.block_tokens);
  const bool own_fits = scaled && side.span > 0;
  const size_t fits = own_fits ? sizeof(f16) * static_cast<size_t>(side.groups() * side.block_tokens / side.span) : 0;
  side.scales_offset = codes;
  side.minimums_offset = codes + fits;
  side.block_bytes = aligned(codes + fits * (side.fit == Fit::kSymmetric ? 1 : 2));

  side.sinks = std::min(scheme.sinks, shape.context);
  side.recent = scheme.recent;
  side.attend_first = scheme.attend_first;
  if (wanted.offset == Offset::kMean || side.span == 0) side.freeze_tokens = kFreezeTokens;
  const bool waits = side.closing() > 1 || side.recent > 0 || side.attend_first || side.freeze_tokens > 0;
  if (waits) {
    const int kept = std::max(side.recent + side.closing(), side.freeze_tokens);
    side.tail_rows = kept + (side.attend_first ? shape.step : 0);
  }
  const int64_t packed = waits ? side.due(shape.context) : shape.context - side.sinks;
  side.head_bytes = side.block_bytes * static_cast<size_t>((packed + side.block_tokens - 1) / side.block_tokens);
  side.frozen = side.freeze_tokens == 0;
  return side;
}

void place(PackedSide& side, const SideScheme& wanted, Places& places) {
  const auto heads = static_cast<size_t>(side.kv_heads), row = static_cast<size_t>(side.head_dim);
  side.data = places.take<uint8_t>(side.head_bytes * heads);
  if (side.sinks > 0) side.sink_rows = places.take<bf16>(heads * static_cast<size_t>(side.sinks) * row);
  if (side.tail_rows > 0) side.tail = places.take<bf16>(heads * static_cast<size_t>(side.tail_rows) * row);
  if (wanted.offset != Offset::kNone) side.offset = places.take<float>(heads * row);
  if (side.span != 0) return;
  side.whole = places.take<GroupFit>(1);
  side.clamped = places.take<int64_t>(1);
}

size_t whole_blocks(const CacheShape& shape) {
  return static_cast<size_t>((shape.context + kBlockTokens - 1) / kBlockTokens);
}

}  // namespace

PackedSide place_side(const KvScheme& scheme, const SideScheme& side, const CacheShape& shape, uint8_t* data) {
  PackedSide placed = describe(scheme, side, shape);
  Places places(data);
  place(placed, side, places);
  return placed;
}

size_t side_bytes(const KvScheme& scheme, const SideScheme& side, const CacheShape& shape) {
  PackedSide counted = describe(scheme, side, shape);
  Places places(nullptr);
  place(counted, side, places);
  return places.used();
}

size_t turns_bytes(const KvScheme& scheme, const CacheShape& shape) {
  for (int layer = 0; layer < shape.layers; ++layer) {
    if (!scheme.at(layer).keys.before_rope) continue;
    const auto tables = static_cast<size_t>(2 * kBlockTokens + kBlockTokens / 2);  // f32 twice, then int16
    return aligned((tables + whole_blocks(shape)) * static_cast<size_t>(shape.head_dim) * sizeof(float));
  }
  return 0;
}

size_t cache_bytes(const KvScheme& scheme, const CacheShape& shape) {
  size_t bytes = turns_bytes(scheme, shape);
  for (int layer = 0; layer < shape.layers; ++layer) {
    bytes += side_bytes(scheme, scheme.at(layer).keys, shape) + side_bytes(scheme, scheme.at(layer).values, shape);
  }
  return bytes;
}

double effective_bits(const KvScheme& scheme, const CacheShape& shape) {
  CacheShape full = shape;
  full.context = static_cast<int>(whole_blocks(shape)) * kBlockTokens;
  const double values = 2.0 * full.layers * full.kv_heads * full.head_dim * full.context;
  return 8 * static_cast<double>(cache_bytes(scheme, full)) / values;
}

}  // namespace kvpareto
