// What attention reads of a cache, as f32 tiles: codes, exact tokens, and keys before RoPE put together again; one
// instance a Highway target. packed_side.cc is the specification. Included by kernels.cc after packing-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Scale and minimum of every channel of one token where groups lie inside it.
HWY_INLINE void row_fits(const PackedSide& side, const uint8_t* block, int64_t place, float* scales, float* minimums) {
  const DF d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  for (int g = 0; g < side.groups(); ++g) {
    const ScaleMinimum own(side, block, place, g);
    for (int c = g * side.group; c < (g + 1) * side.group; c += lanes) {
      hn::Store(hn::Set(d, own.scale), d, scales + c);
      hn::Store(hn::Set(d, own.minimum), d, minimums + c);
    }
  }
}

// The row of a token that is stored as bf16: a sink, one of the tail, or of a side that packs none.
HWY_INLINE const bf16* exact_row(const PackedSide& side, int64_t head, int64_t token) {
  const int64_t behind = token - side.sinks;
  if (behind < 0) return side.sink_row(head, token);
  if (side.tail_rows > 0 && behind >= side.closed) return side.tail_row(head, behind);
  return reinterpret_cast<const bf16*>(side.block(head, behind)) + side.place_of(behind) * side.head_dim;
}

// The same of `count` tokens inside one tile: neighbours but for the beginning of the tail and its end, a ring's.
HWY_INLINE void exact_rows(const PackedSide& side, int64_t head, int64_t token, int64_t count, const bf16** rows) {
  const bf16* tail_end = side.tail + (head + 1) * side.tail_rows * side.head_dim;
  const int64_t tail_begin = side.tail_rows > 0 ? side.closed + side.sinks : token + count;
  const bf16* row = exact_row(side, head, token);
  for (int64_t k = 0; k < count; ++k, row += side.head_dim) {
    if (k > 0 && token + k == tail_begin) row = exact_row(side, head, token + k);
    if (row == tail_end && token + k > tail_begin) row = side.tail_row(head, 0);
    rows[k] = row;
  }
}

// Tokens from `token` on, before `end`, that lie in one part and one tile: sinks, or kTile behind them.
HWY_INLINE int64_t tile_tokens(const PackedSide& side, int64_t token, int64_t end) {
  const int64_t behind = token - side.sinks, part = behind < 0 ? -behind : kTile - behind % kTile;
  const int64_t count = part < kTile ? part : kTile;
  return count < end - token ? count : end - token;
}

// Of `count` tokens from `token` on, inside a tile of the packed part or before it, those that are read as codes.
HWY_INLINE int64_t packed_count(const PackedSide& side, int64_t token, int64_t count) {
  const int64_t behind = token - side.sinks;
  if (behind < 0 || side.codec == Codec::kBf16) return 0;
  if (side.tail_rows == 0 || side.closed - behind >= count) return count;
  return side.closed > behind ? side.closed - behind : 0;
}

// Packed tokens inside one block; `token` counts from behind the sinks.
HWY_INLINE void decode_packed(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  const DF d;
  const hn::Rebind<uint8_t, DF> d8;
  const hn::RebindToSigned<DF> di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t d_head = side.head_dim;
  const uint8_t* block = side.block(head, token);
  const int64_t place = side.place_of(token), end = place + count;
  if (side.codec == Codec::kBf16)
    return bf16_to_floats(reinterpret_cast<const bf16*>(block) + place * d_head, count * d_head, out);
  HWY_ALIGN uint8_t rows[kLanes * kLargestHead];
  HWY_ALIGN float scales[kLargestHead], minimums[kLargestHead];
  for (int64_t first = place / kLanes * kLanes; first < end; first += kLanes) {
    unpack_rows(side, block, first, rows);
    if (side.span != 1) channel_fits(side, block, first, scales, minimums);
    for (int64_t t = first < place ? place : first; t < end && t < first + kLanes; ++t, out += d_head) {
      if (side.span == 1) row_fits(side, block, t, scales, minimums);
      for (int64_t c = 0; c < d_head; c += lanes) {
        const auto codes = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, rows + (t - first) * d_head + c)));
        hn::StoreU(hn::MulAdd(codes, hn::Load(d, scales + c), hn::Load(d, minimums + c)), d, out + c);
      }
    }
  }
}

// Keys before RoPE: offset, rotation back, then the turn of the place among these tokens.
HWY_INLINE void turn_in_tile(const PackedSide& side, int64_t head, int64_t count, float* out) {
  const bool restored = side.offset != nullptr || side.rotated;
  const int64_t half = side.head_dim / 2;
  for (int64_t t = 0; t < count; ++t, out += side.head_dim) {
    if (restored) restore_values(side, head, out);
    const float* turn = side.turns + t * side.head_dim;
    rope(out, turn, turn + half, half);
  }
}

// At most kTile tokens, the parts of the sequence in turn: sinks, packed tokens block by block, the tail. Keys before
// RoPE come turned as if the first of them stood at position 0: with few queries it is cheaper to turn those back.
void decode_in_tile(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  float* const begin = out;
  const int64_t end = token + count;
  const int64_t packed_end = side.tail_rows > 0 && side.sinks + side.closed < end ? side.sinks + side.closed : end;
  for (; token < end && token < side.sinks; ++token, out += side.head_dim) {
    bf16_to_floats(side.sink_row(head, token), side.head_dim, out);
  }
  while (token < packed_end) {
    const int64_t behind = token - side.sinks, left = side.block_tokens - side.place_of(behind);
    const int64_t tokens = packed_end - token < left ? packed_end - token : left;
    decode_packed(side, head, behind, tokens, out);
    token += tokens;
    out += tokens * side.head_dim;
  }
  for (; token < end; ++token, out += side.head_dim) {
    bf16_to_floats(side.tail_row(head, token - side.sinks), side.head_dim, out);
  }
  if (side.before_rope) turn_in_tile(side, head, count, begin);
}

// Cosines and sines of a position, of magnitude 1: the tile's, turned on by the place in it where that is not its
// beginning. Those of places have the magnitude of RoPE, which keys have from their own place already.
HWY_INLINE const float* turn_of(const PackedSide& side, int64_t position, float* space) {
  const int64_t half = side.head_dim / 2;
  const float* tile = side.block_turns + position / kBlockTokens * side.head_dim;
  const float* place = side.turns + position % kBlockTokens * side.head_dim;
  if (position % kBlockTokens == 0) return tile;
  const float inverse = 1.0f / side.turns[0];  // the cosine of position 0
  for (int64_t c = 0; c < half; ++c) {
    space[c] = (tile[c] * place[c] - tile[half + c] * place[half + c]) * inverse;
    space[half + c] = (tile[half + c] * place[c] + tile[c] * place[half + c]) * inverse;
  }
  return space;
}

void decode(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  decode_in_tile(side, head, token, count, out);
  if (!side.before_rope) return;
  float space[kLargestHead];
  const int64_t half = side.head_dim / 2;
  const float* turn = turn_of(side, token, space);
  for (int64_t t = 0; t < count; ++t) rope(out + t * side.head_dim, turn, turn + half, half);
}

// Rows of x [rows][head_dim] turned back by a position.
HWY_INLINE void turn_back(const PackedSide& side, int64_t position, int64_t rows, float* x) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t half = side.head_dim / 2;
  float space[kLargestHead];
  const float* turn = turn_of(side, position, space);
  for (int64_t row = 0; row < rows; ++row, x += side.head_dim) {
    for (int64_t c = 0; c < half; c += lanes) {
      const auto a = hn::LoadU(d, x + c), b = hn::LoadU(d, x + half + c);
      const auto cosine = hn::LoadU(d, turn + c), sine = hn::LoadU(d, turn + half + c);
      hn::StoreU(hn::MulAdd(b, sine, hn::Mul(a, cosine)), d, x + c);
      hn::StoreU(hn::NegMulAdd(a, sine, hn::Mul(b, cosine)), d, x + half + c);
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
