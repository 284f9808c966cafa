#pragma once
// The bytes of a cache: where every block lies. The cache allocates by this and the memory model asks it, so prediction
// equals allocation by construction.

#include <cstddef>

#include "backend/packed_side.h"
#include "kv/rope.h"
#include "kv/scheme.h"

namespace kvpareto {

// What a cache is for: sizes of the model and of the longest sequence.
struct CacheShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int context = 0;  // tokens; packed parts are rounded up to whole blocks
  int step = 1;     // tokens of the longest append; matters where tokens in flight stay exact
  Rope rope = {};
  bool operator==(const CacheShape&) const = default;
};

// One side of one layer with its parts from `data` on; null gives the sizes alone.
PackedSide place_side(const KvScheme& scheme, const SideScheme& side, const CacheShape& shape, uint8_t* data);
size_t side_bytes(const KvScheme& scheme, const SideScheme& side, const CacheShape& shape);

// Cosines and sines that keys before RoPE are turned by when they are read; 0 if no layer stores such keys.
size_t turns_bytes(const KvScheme& scheme, const CacheShape& shape);

// The whole cache: codes, scales, minimums, exact tokens and offsets of every layer, both sides, and the turns.
size_t cache_bytes(const KvScheme& scheme, const CacheShape& shape);

// Stored bits of the whole cache divided by the K and V values that it holds when its context, rounded up to whole
// blocks, is full: scales, minimums, windows and tables included.
double effective_bits(const KvScheme& scheme, const CacheShape& shape);

}  // namespace kvpareto
