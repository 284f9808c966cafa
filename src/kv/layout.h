#pragma once
// The bytes of a cache: where every block lies. The cache allocates by this and the memory model asks it, so prediction
// equals allocation by construction.

#include <cstddef>

#include "backend/packed_side.h"
#include "kv/scheme.h"

namespace kvpareto {

// What a cache is for: sizes of the model and of the longest sequence.
struct CacheShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int context = 0;  // tokens; rounded up to whole blocks of kBlockTokens
};

// One side of one layer, `data` still null.
PackedSide side_layout(const SideScheme& scheme, const CacheShape& shape);
size_t side_bytes(const SideScheme& scheme, const CacheShape& shape);

// The whole cache: codes, scales and minimums of every layer, both sides.
size_t cache_bytes(const KvScheme& scheme, const CacheShape& shape);

}  // namespace kvpareto
