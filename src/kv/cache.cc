#include "kv/cache.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/error.h"

namespace kvpareto {
namespace {

KvScheme checked(const KvScheme& scheme, const CacheShape& shape, bool biased) {
  const std::string reason = why_invalid(scheme, shape.layers, shape.head_dim, biased);
  if (!reason.empty()) fail_usage("KV scheme {}: {}", to_text(scheme), reason);
  return scheme;
}

// The bytes of a side that a rewind must bring back.
struct Exact {
  uint8_t* data;
  size_t bytes;
};
std::vector<Exact> exact_parts(const PackedSide& side) {
  const auto rows = [&](bf16* data, int count) {
    return Exact{reinterpret_cast<uint8_t*>(data),
                 sizeof(bf16) * static_cast<size_t>(side.kv_heads) * static_cast<size_t>(count * side.head_dim)};
  };
  std::vector<Exact> parts;
  if (side.tail_rows > 0) parts.push_back(rows(side.tail, side.tail_rows));
  // Sinks are written once, but a mean is taken off them when it is frozen.
  if (side.freeze_tokens > 0 && side.sinks > 0) parts.push_back(rows(side.sink_rows, side.sinks));
  if (side.clamped != nullptr) parts.push_back({reinterpret_cast<uint8_t*>(side.clamped), sizeof(int64_t)});
  return parts;
}

// The tables by which keys before RoPE are turned, see PackedSide.
struct Turns {
  const float* places = nullptr;
  const float* across = nullptr;
  const int16_t* fixed = nullptr;
  const float* blocks = nullptr;
};

// turns_bytes() from `next` on.
Turns fill_tables(const CacheShape& shape, float* next) {
  const int64_t d = shape.head_dim, half = d / 2, size = kBlockTokens * d;
  float *places = next, *across = next + size, *blocks = next + 2 * size + size / 2;
  auto* fixed = reinterpret_cast<int16_t*>(next + 2 * size);
  fill_turns(shape.rope, half, 0, 1, kBlockTokens, places);
  for (int64_t t = 0; t < kBlockTokens; ++t) {
    for (int64_t c = 0; c < d; ++c) {
      const float turn = places[t * d + c];
      across[c * kBlockTokens + t] = turn;
      fixed[(c / 2 * kBlockTokens + t) * 2 + c % 2] =
          static_cast<int16_t>(std::lround(kFixedOne * (turn / shape.rope.magnitude)));
    }
  }
  Rope of_blocks = shape.rope;
  of_blocks.magnitude = 1;  // a key is turned by both tables, and has its magnitude from the first
  fill_turns(of_blocks, half, 0, kBlockTokens, (shape.context + kBlockTokens - 1) / kBlockTokens, blocks);
  return {places, across, fixed, blocks};
}

}  // namespace

KvCache::KvCache(Backend& backend, const KvScheme& scheme, const CacheShape& shape, std::span<const KvBias> biases)
    : backend_(backend), scheme_(checked(scheme, shape, !biases.empty())), shape_(shape) {
  storage_ = backend.allocate(cache_bytes(scheme, shape), Purpose::kKv);
  auto* next = storage_.as<uint8_t>();
  Turns turns;
  if (turns_bytes(scheme, shape) > 0) {
    turns = fill_tables(shape, reinterpret_cast<float*>(next));
    next += turns_bytes(scheme, shape);
  }
  for (int layer = 0; layer < shape.layers; ++layer) {
    const LayerScheme& sides = scheme.at(layer);
    Layer placed{place_side(scheme, sides.keys, shape, next),
                 {},
                 sides.keys.offset == Offset::kMean,
                 sides.values.offset == Offset::kMean,
                 0};
    placed.keys.lanes = Lanes::kTokens;
    next += side_bytes(scheme, sides.keys, shape);
    placed.values = place_side(scheme, sides.values, shape, next);
    next += side_bytes(scheme, sides.values, shape);
    if (placed.keys.before_rope) {
      placed.keys.turns = turns.places;
      placed.keys.turns_across = turns.across;
      placed.keys.turns_fixed = turns.fixed;
      placed.keys.block_turns = turns.blocks;
    }
    if (sides.keys.offset == Offset::kBias) take_bias(placed.keys, biases[static_cast<size_t>(layer)].keys);
    if (sides.values.offset == Offset::kBias) take_bias(placed.values, biases[static_cast<size_t>(layer)].values);
    layers_.push_back(placed);
  }
}

void KvCache::take_bias(const PackedSide& side, std::span<const float> bias) const {
  std::copy(bias.begin(), bias.end(), side.offset);
  backend_.transform(tensor(side.offset, 1, shape_.kv_heads, shape_.head_dim), side.rotated, nullptr);
}

template <typename Visit>
void KvCache::each_side(Visit visit) {
  for (Layer& layer : layers_) {
    visit(layer.keys, layer.key_mean);
    visit(layer.values, layer.value_mean);
  }
}

void KvCache::append(int layer, Tensor keys, Tensor values, const float* turns) {
  Layer& at = layers_[static_cast<size_t>(layer)];
  if (at.tokens + keys.rows() > shape_.context) {
    fail_usage("the sequence would grow to {} tokens, but the context is {}", at.tokens + keys.rows(), shape_.context);
  }
  assert(!scheme_.attend_first || keys.rows() <= shape_.step);
  if (keys.rows() == 0) return;
  if (!at.keys.before_rope) backend_.rope(keys, turns);
  store(at.keys, at.key_mean, keys, at.tokens);
  store(at.values, at.value_mean, values, at.tokens);
  at.tokens += keys.rows();
  if (layer + 1 == shape_.layers) tokens_ = at.tokens;
}

void KvCache::store(PackedSide& side, bool mean, Tensor x, int64_t first) {
  side.step_first = first;
  int64_t stored = 0;
  if (!side.frozen) {
    const int64_t freeze_at = side.sinks + side.freeze_tokens;
    stored = std::min(x.rows(), freeze_at - first);
    store_settled(side, x.slice(0, stored), first);
    if (first + stored < freeze_at) return;
    backend_.freeze(side, mean);
    side.frozen = true;
  }
  store_settled(side, x.slice(stored, x.rows() - stored), first + stored);
}

void KvCache::store_settled(PackedSide& side, Tensor x, int64_t first) {
  if (side.rotated || side.offset != nullptr) backend_.transform(x, side.rotated, side.offset);
  backend_.pack(x, first, side);
  side.closed = side.due_now(first + x.rows());
}

void KvCache::attend(int layer, Tensor queries, Tensor out, Tensor scratch) const {
  const Layer& at = layers_[static_cast<size_t>(layer)];
  assert(at.tokens >= queries.rows());
  // H q . H k = q . k; keys before RoPE are rotated back when they are read.
  if (at.keys.rotated && !at.keys.before_rope) backend_.transform(queries, true, nullptr);
  backend_.attend(queries, at.tokens - queries.rows(), at.keys, at.values, shape_.kv_heads, out, scratch);
}

KvCache::Mark KvCache::mark() const {
  Mark mark{tokens_, {}, {}};
  for (const Layer& layer : layers_) {
    for (const PackedSide* side : {&layer.keys, &layer.values}) {
      mark.closed.push_back(side->closed);
      for (const Exact& part : exact_parts(*side))
        mark.exact.insert(mark.exact.end(), part.data, part.data + part.bytes);
    }
  }
  return mark;
}

void KvCache::rewind(const Mark& mark) {
  assert(mark.tokens <= tokens_ || mark.tokens == 0);
  tokens_ = mark.tokens;
  for (Layer& layer : layers_) layer.tokens = mark.tokens;
  size_t sides = 0, bytes = 0;
  each_side([&](PackedSide& side, bool mean) {
    side.closed = mark.closed.empty() ? 0 : mark.closed[sides++];
    side.frozen = side.freeze_tokens == 0 || mark.tokens >= side.sinks + side.freeze_tokens;
    if (!side.frozen && mean) std::fill_n(side.offset, shape_.kv_heads * shape_.head_dim, 0.0f);
    for (const Exact& part : exact_parts(side)) {
      if (mark.exact.empty()) {
        std::memset(part.data, 0, part.bytes);
      } else {
        std::memcpy(part.data, mark.exact.data() + bytes, part.bytes);
      }
      bytes += part.bytes;
    }
  });
}

void KvCache::copy(const KvCache& other) {
  if (scheme_ != other.scheme_ || shape_ != other.shape_) throw std::invalid_argument("caches of different kinds");
  std::memcpy(storage_.data(), other.storage_.data(), storage_.bytes());
  tokens_ = other.tokens_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& from = other.layers_[i];
    layers_[i].tokens = from.tokens;
    for (PackedSide Layer::*side : {&Layer::keys, &Layer::values}) {
      // What changes after a side was placed; pointers stay into this cache's own bytes.
      (layers_[i].*side).closed = (from.*side).closed;
      (layers_[i].*side).frozen = (from.*side).frozen;
      (layers_[i].*side).step_first = (from.*side).step_first;
    }
  }
}

size_t KvCache::bytes() const { return storage_.bytes(); }

bool KvCache::has_frozen_scale() const {
  return std::any_of(layers_.begin(), layers_.end(),
                     [](const Layer& layer) { return layer.keys.span == 0 || layer.values.span == 0; });
}

double KvCache::clamped() const {
  int64_t clamped = 0, packed = 0;
  for (const Layer& layer : layers_) {
    for (const PackedSide* side : {&layer.keys, &layer.values}) {
      if (side->span != 0) continue;
      clamped += *side->clamped;
      packed += side->closed * side->kv_heads * side->head_dim;
    }
  }
  return packed == 0 ? 0 : static_cast<double>(clamped) / static_cast<double>(packed);
}

std::vector<float> KvCache::decoded(int layer, bool keys) const {
  const Layer& at = layers_[static_cast<size_t>(layer)];
  const PackedSide& side = keys ? at.keys : at.values;
  std::vector<float> out(static_cast<size_t>(shape_.kv_heads * at.tokens * shape_.head_dim));
  float* row = out.data();
  for (int head = 0; head < shape_.kv_heads; ++head) {
    for (int64_t token = 0; token < at.tokens; ++token, row += shape_.head_dim) {
      decode_row(side, head, token, row);
      if (!side.before_rope) restore_values(side, head, row);
    }
  }
  return out;
}

}  // namespace kvpareto
