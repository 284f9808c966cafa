#pragma once
// Where the packed keys (or values) of one layer lie: plain numbers that kernels read. kv/layout.h makes them.
//
// For every kv head a row of blocks, kBlockTokens tokens each:
//   codes     [token][channel chunk]   row_bytes a token, see quant/codec.h; bf16 values where the codec is bf16
//   scales    f16 [token][group]       } absent for bf16
//   minimums  f16 [token][group]       }

#include <cstddef>
#include <cstdint>

#include "quant/codec.h"

namespace kvpareto {

inline constexpr int kBlockTokens = 64;

struct PackedSide {
  uint8_t* data = nullptr;
  Codec codec = Codec::kBf16;
  int head_dim = 0;
  int group = 0;             // channels that share scale and minimum
  size_t row_bytes = 0;      // codes of one token of one head
  size_t scales_offset = 0;  // bytes from the start of a block
  size_t minimums_offset = 0;
  size_t block_bytes = 0;
  size_t head_bytes = 0;  // from one head's first block to the next head's

  KVPARETO_INLINE uint8_t* block(int64_t head, int64_t token) const {
    return data + static_cast<size_t>(head) * head_bytes + static_cast<size_t>(token / kBlockTokens) * block_bytes;
  }
  KVPARETO_INLINE int groups() const { return head_dim / group; }
};

// The specification of packing and its inverse, one row (token) of one head: out and values are f32 [head_dim].
void encode_row(const PackedSide& side, int64_t head, int64_t token, const float* values);
void decode_row(const PackedSide& side, int64_t head, int64_t token, float* out);

}  // namespace kvpareto
