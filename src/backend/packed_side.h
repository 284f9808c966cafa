#pragma once
// Where the keys (or values) of one layer lie: plain numbers that kernels read. kv/layout.h makes them.
//
// A sequence has up to three parts, oldest first:
//   sinks    bf16 [kv_head][sinks][head_dim]
//   packed   for every kv head a row of blocks, block_tokens tokens each:
//              codes     in chunks of 32, see `lanes`; where the codec is bf16, values bf16 [token][channel]
//              scales    f16 [group][token], or [span][group] for groups over tokens } absent for bf16 and where the
//              minimums  f16, the same; a symmetric fit has none                     } whole layer has one, in `whole`
//   tail     bf16 [kv_head][tail_rows][head_dim], a ring: token t behind the sinks in row t % tail_rows
//
// All three hold y = H x - offset: x rotated if `rotated`, less a vector for each head and channel. Attention over keys
// after RoPE reads y as it is (queries are rotated too, and an offset adds the same to all scores of a query); keys
// before RoPE are put together again when they are read, values when the weighted sum is done.

#include <cstddef>
#include <cstdint>

#include "quant/codec.h"
#include "quant/hadamard.h"

namespace kvpareto {

inline constexpr int kBlockTokens = 64;
// Tokens behind the sinks after which a mean offset, and one scale for the layer, are frozen. They stay exact till
// then.
inline constexpr int kFreezeTokens = 64;

inline constexpr int kLargestHead = 1024;  // channels
inline constexpr int kFixedOne = 32767;

// How a chunk of codes is filled: kLanes by 4, so that attention multiplies 4 codes a lane and never sums over lanes.
//   kTokens    16 tokens by 4 channels: chunks [token / 16][channel / 4], for keys
//   kChannels  16 channels by 4 tokens: chunks [token / 4][channel / 16], for values
enum class Lanes : uint8_t { kTokens, kChannels };
inline constexpr int kFour = 4;
inline constexpr int kLanes = kChunk / kFour;

struct CodePlace {
  int64_t chunk;  // of its block
  int at;         // in the chunk
};

struct PackedSide {
  uint8_t* data = nullptr;
  Codec codec = Codec::kBf16;
  Lanes lanes = Lanes::kChannels;
  Fit fit = Fit::kRange;
  int head_dim = 0;
  int kv_heads = 0;
  int group = 0;                    // channels that share scale and minimum: 1, or a multiple of kGroupMultiple
  int span = 1;                     // consecutive tokens that share them, a power of two; 0: all, in `whole`
  int block_tokens = kBlockTokens;  // a power of two
  size_t row_bytes = 0;             // of the codes of one token of one head
  size_t scales_offset = 0;         // bytes from the start of a block
  size_t minimums_offset = 0;
  size_t block_bytes = 0;
  size_t head_bytes = 0;  // from one head's first block to the next head's

  int sinks = 0;
  bf16* sink_rows = nullptr;
  int recent = 0;     // newest tokens that stay in the tail
  int tail_rows = 0;  // 0: no tail, every token is packed as it comes
  bf16* tail = nullptr;
  bool attend_first = false;  // tokens of the newest step are packed when the next one comes
  int64_t step_first = 0;     // position at which the newest step begins
  int freeze_tokens = 0;      // kFreezeTokens, or 0 if there is nothing to freeze
  bool frozen = true;
  int64_t closed = 0;  // tokens behind the sinks that are packed; meaningless without a tail

  bool rotated = false;
  float* offset = nullptr;       // f32 [kv_head][head_dim]; null: none
  GroupFit* whole = nullptr;     // where span is 0
  int64_t* clamped = nullptr;    // where span is 0: values packed so far that lay outside its range
  bool before_rope = false;      // then:
  const float* turns = nullptr;  // f32 [tokens of a block][2][head_dim / 2]: cosines and sines of positions 0, 1, ...
  const float* turns_across = nullptr;  // the same with positions in a row: f32 [2][head_dim / 2][kBlockTokens]
  // The same by two channels, less RoPE's magnitude, in 1 / kFixedOne: int16 [2][head_dim / 4][kBlockTokens][2].
  const int16_t* turns_fixed = nullptr;
  const float* block_turns = nullptr;  // `turns` of positions 0, kBlockTokens, 2 * kBlockTokens, ..., magnitude 1

  // x / n of a power of two, without a division.
  KVPARETO_INLINE static int64_t wholes(int64_t x, int n) { return x >> __builtin_ctz(static_cast<unsigned>(n)); }
  // `token` counts from behind the sinks.
  KVPARETO_INLINE uint8_t* block(int64_t head, int64_t token) const {
    return data + static_cast<size_t>(head) * head_bytes +
           static_cast<size_t>(wholes(token, block_tokens)) * block_bytes;
  }
  // Where in its block.
  KVPARETO_INLINE int64_t place_of(int64_t token) const { return token & (block_tokens - 1); }
  KVPARETO_INLINE int groups() const { return head_dim / group; }
  // Whether attention multiplies scales into what it multiplies codes with, span by span: those of single channels, and
  // those of spans longer than a tile. Others are what results are multiplied with, token by token.
  KVPARETO_INLINE bool folds() const { return group == 1 || span > kBlockTokens; }
  // Where among its block's scales and minimums a token's are.
  KVPARETO_INLINE int64_t fit_index(int64_t token, int g) const {
    const int64_t place = place_of(token);
    return span == 1 ? int64_t{g} * block_tokens + place : wholes(place, span) * groups() + g;
  }
  KVPARETO_INLINE CodePlace code_place(int64_t token, int channel) const {
    const auto place = static_cast<int>(place_of(token));
    if (lanes == Lanes::kTokens)
      return {int64_t{place / kLanes} * (head_dim / kFour) + channel / kFour, place % kLanes * kFour + channel % kFour};
    return {int64_t{place / kFour} * (head_dim / kLanes) + channel / kLanes, channel % kLanes * kFour + place % kFour};
  }
  KVPARETO_INLINE bf16* sink_row(int64_t head, int64_t token) const {
    return sink_rows + (head * sinks + token) * head_dim;
  }
  KVPARETO_INLINE bf16* tail_row(int64_t head, int64_t token) const {
    return tail + (head * tail_rows + token % tail_rows) * head_dim;
  }
  KVPARETO_INLINE const float* offset_of(int64_t head) const {
    return offset == nullptr ? nullptr : offset + head * head_dim;
  }
  KVPARETO_INLINE int levels() const { return (1 << bits_of(codec)) - 1; }
  // Tokens that are packed at once.
  KVPARETO_INLINE int closing() const { return span == 0 ? 1 : span; }
  // Whether a token behind the sinks is packed as it comes.
  KVPARETO_INLINE bool direct() const {
    return tail_rows == 0 || (frozen && closing() == 1 && recent == 0 && !attend_first);
  }
  // Tokens behind the sinks that may be packed once the sequence has `tokens`.
  KVPARETO_INLINE int64_t due(int64_t tokens) const {
    const int64_t past = tokens - sinks;
    if (!frozen || past < recent + closing()) return 0;
    return (past - recent) & -int64_t{closing()};
  }
  // The same after `tokens` in all, of which those of the newest step may have to wait.
  KVPARETO_INLINE int64_t due_now(int64_t tokens) const { return due(attend_first ? step_first : tokens); }
  // Whether attention may read blocks of kBlockTokens rows of bf16 as they lie.
  KVPARETO_INLINE bool plain_bf16() const {
    return codec == Codec::kBf16 && sinks == 0 && tail_rows == 0 && !before_rope;
  }
};

// What is added to the weighted sum of stored values of one head, f32 [head_dim], to give that of the values.
KVPARETO_INLINE void restore_values(const PackedSide& side, int64_t head, float* row) {
  if (side.offset != nullptr) {
    const float* offset = side.offset_of(head);
    for (int c = 0; c < side.head_dim; ++c) row[c] += offset[c];
  }
  if (side.rotated) hadamard(row, side.head_dim);
}

// --- the specification of packing and its inverse, plain loops

// Stores x f32 [tokens, kv_heads, head_dim], transformed already, as tokens [first, first + tokens) of the sequence.
// The cache sets `closed` and `frozen` afterwards.
void store_rows(const PackedSide& side, const float* x, int64_t row_stride, int64_t tokens, int64_t first);
// What attention reads of one token of one head, f32 [head_dim].
void decode_row(const PackedSide& side, int64_t head, int64_t token, float* out);
// Once the first freeze_tokens tokens are in the tail: finds the mean (where there is an offset and `find_mean`) and
// takes it off every stored row, then the scale of the layer where span is 0.
void freeze_side(const PackedSide& side, bool find_mean);

}  // namespace kvpareto
