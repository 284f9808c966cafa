// What attention reads of a cache, as f32 tiles: codes, exact tokens, and keys before RoPE put together again; one
// instance a Highway target. packed_side.cc is the specification. Included by kernels.cc after packing-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// In hardware where the target has F16C.
HWY_INLINE float half_to_float(f16 x) {
#if HWY_TARGET <= HWY_AVX2
  return _cvtsh_ss(x.bits);
#else
  return to_float(x);
#endif
}

// Codes of channels [i, i + lanes) of a chunk, as f32.
template <Codec kCodec>
HWY_INLINE VF codes_at(DF d, const uint8_t* chunk, int i) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint8_t, DF> d8;
  if constexpr (kCodec == Codec::kInt8) {
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, chunk + i)));
  } else if constexpr (kCodec == Codec::kInt4) {
    const auto bytes = hn::PromoteTo(du, hn::LoadU(d8, chunk + i % 16));
    const auto codes = i < 16 ? hn::And(bytes, hn::Set(du, 15u)) : hn::ShiftRight<4>(bytes);
    return hn::ConvertTo(d, hn::BitCast(di, codes));
  } else {
    uint32_t pairs;
    __builtin_memcpy(&pairs, chunk + i / 16 * 4, 4);
    const auto lane = hn::Iota(du, static_cast<uint32_t>(i % 16));
    auto codes = hn::And(hn::Shr(hn::Set(du, pairs), hn::Add(lane, lane)), hn::Set(du, 3u));
    if constexpr (kCodec == Codec::kInt3) {
      uint32_t tops;
      __builtin_memcpy(&tops, chunk + 8, 4);
      const auto top = hn::Shr(hn::Set(du, tops), hn::Add(lane, hn::Set(du, static_cast<uint32_t>(i / 16 * 16))));
      codes = hn::Or(codes, hn::ShiftLeft<2>(hn::And(top, hn::Set(du, 1u))));
    }
    return hn::ConvertTo(d, hn::BitCast(di, codes));
  }
}

// Groups inside a token: every group's scale and minimum are broadcast.
template <Codec kCodec>
HWY_INLINE void decode_groups(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, float* out) {
  const DF d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const int groups = side.groups();
  const bool symmetric = side.fit == Fit::kSymmetric;
  const auto* scales = reinterpret_cast<const f16*>(block + side.scales_offset) + place * groups;
  const auto* minimums = reinterpret_cast<const f16*>(block + side.minimums_offset) + place * groups;
  const uint8_t* chunk = block + static_cast<size_t>(place) * side.row_bytes;
  for (int64_t g = 0; g < count * groups; ++g) {
    const float factor = half_to_float(scales[g]);
    const auto scale = hn::Set(d, factor);
    const auto minimum = hn::Set(d, symmetric ? symmetric_minimum(factor, side.levels()) : half_to_float(minimums[g]));
    for (int c = 0; c < side.group; c += kChunk, chunk += chunk_bytes(kCodec), out += kChunk) {
      for (int i = 0; i < kChunk; i += lanes)
        hn::StoreU(hn::MulAdd(codes_at<kCodec>(d, chunk, i), scale, minimum), d, out + i);
    }
  }
}

// Scales and minimums of the channels [c, c + kChunk) of one span.
struct ChunkFits {
  HWY_ALIGN float scale[kChunk], minimum[kChunk];

  HWY_INLINE void read(const PackedSide& side, const uint8_t* block, int64_t place, int c) {
    const f16* scales = side.whole != nullptr
                            ? &side.whole->scale
                            : reinterpret_cast<const f16*>(block + side.scales_offset) + side.fit_index(place);
    const f16* minimums = side.whole != nullptr
                              ? &side.whole->minimum
                              : reinterpret_cast<const f16*>(block + side.minimums_offset) + side.fit_index(place);
    const bool symmetric = side.fit == Fit::kSymmetric;
    for (int i = 0; i < kChunk; ++i) {
      const int at = side.span == 0 ? 0 : (c + i) / side.group;
      scale[i] = half_to_float(scales[at]);
      minimum[i] = symmetric ? symmetric_minimum(scale[i], side.levels()) : half_to_float(minimums[at]);
      if (side.group != 1) {  // the chunk has one of each
        for (int j = 1; j < kChunk; ++j) {
          scale[j] = scale[0];
          minimum[j] = minimum[0];
        }
        return;
      }
    }
  }
};

// Groups over tokens: a chunk of channels at a time, its scales and minimums held for all tokens of a span.
template <Codec kCodec>
HWY_INLINE void decode_spans(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, float* out) {
  const DF d;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const int64_t d_head = side.head_dim;
  while (count > 0) {
    const int64_t left = side.span == 0 ? count : side.span - place % side.span, tokens = count < left ? count : left;
    for (int c = 0; c < d_head; c += kChunk) {
      ChunkFits fits;
      fits.read(side, block, place, c);
      const uint8_t* chunk =
          block + static_cast<size_t>(place) * side.row_bytes + static_cast<size_t>(c / kChunk) * chunk_bytes(kCodec);
      for (int64_t t = 0; t < tokens; ++t, chunk += side.row_bytes) {
        for (int i = 0; i < kChunk; i += lanes) {
          const auto scale = hn::Load(d, fits.scale + i), minimum = hn::Load(d, fits.minimum + i);
          hn::StoreU(hn::MulAdd(codes_at<kCodec>(d, chunk, i), scale, minimum), d, out + t * d_head + c + i);
        }
      }
    }
    place += tokens;
    count -= tokens;
    out += tokens * d_head;
  }
}

template <Codec kCodec>
HWY_INLINE void decode_codes(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, float* out) {
  if (side.span == 1) return decode_groups<kCodec>(side, block, place, count, out);
  decode_spans<kCodec>(side, block, place, count, out);
}

// Packed tokens inside one block; `token` counts from behind the sinks.
HWY_INLINE void decode_packed(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  const uint8_t* block = side.block(head, token);
  const int64_t place = token % side.block_tokens;
  switch (side.codec) {
    case Codec::kBf16:
      return bf16_to_floats(reinterpret_cast<const bf16*>(block) + place * side.head_dim, count * side.head_dim, out);
    case Codec::kInt8:
      return decode_codes<Codec::kInt8>(side, block, place, count, out);
    case Codec::kInt4:
      return decode_codes<Codec::kInt4>(side, block, place, count, out);
    case Codec::kInt3:
      return decode_codes<Codec::kInt3>(side, block, place, count, out);
    case Codec::kInt2:
      return decode_codes<Codec::kInt2>(side, block, place, count, out);
  }
}

// Keys before RoPE: offset, rotation back, then the turn of the place in the tile.
HWY_INLINE void turn_in_tile(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t half = side.head_dim / 2;
  const float* turn = side.turns + token % kBlockTokens * side.head_dim;
  const bool restored = side.offset != nullptr || side.rotated;
  for (int64_t t = 0; t < count; ++t, out += side.head_dim, turn += side.head_dim) {
    if (restored) restore_values(side, head, out);
    for (int64_t c = 0; c < half; c += lanes) {
      const auto a = hn::LoadU(d, out + c), b = hn::LoadU(d, out + half + c);
      const auto cosine = hn::LoadU(d, turn + c), sine = hn::LoadU(d, turn + half + c);
      hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, out + c);
      hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, out + half + c);
    }
  }
}

// The parts of the sequence in turn: sinks, packed tokens block by block, the tail. Keys before RoPE come turned as if
// their tile began at position 0: with few queries it is cheaper to turn those back by the tile's beginning.
void decode_in_tile(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  float* const begin = out;
  const int64_t first = token, end = token + count;
  const int64_t packed_end = side.tail_rows > 0 && side.sinks + side.closed < end ? side.sinks + side.closed : end;
  for (; token < end && token < side.sinks; ++token, out += side.head_dim) {
    bf16_to_floats(side.sink_row(head, token), side.head_dim, out);
  }
  while (token < packed_end) {
    const int64_t behind = token - side.sinks, left = side.block_tokens - behind % side.block_tokens;
    const int64_t tokens = packed_end - token < left ? packed_end - token : left;
    decode_packed(side, head, behind, tokens, out);
    token += tokens;
    out += tokens * side.head_dim;
  }
  for (; token < end; ++token, out += side.head_dim) {
    bf16_to_floats(side.tail_row(head, token - side.sinks), side.head_dim, out);
  }
  if (side.before_rope) turn_in_tile(side, head, first, count, begin);
}

void decode(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out) {
  decode_in_tile(side, head, token, count, out);
  if (!side.before_rope) return;
  const int64_t half = side.head_dim / 2;
  const float* tile = side.block_turns + token / kBlockTokens * side.head_dim;
  for (int64_t t = 0; t < count; ++t, out += side.head_dim) rope(out, tile, tile + half, half);
}

// out = x turned back by the beginning of the token's tile.
HWY_INLINE void turn_back(const PackedSide& side, int64_t token, const float* x, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t half = side.head_dim / 2;
  const float* tile = side.block_turns + token / kBlockTokens * side.head_dim;
  for (int64_t c = 0; c < half; c += lanes) {
    const auto a = hn::LoadU(d, x + c), b = hn::LoadU(d, x + half + c);
    const auto cosine = hn::LoadU(d, tile + c), sine = hn::LoadU(d, tile + half + c);
    hn::StoreU(hn::MulAdd(b, sine, hn::Mul(a, cosine)), d, out + c);
    hn::StoreU(hn::NegMulAdd(a, sine, hn::Mul(b, cosine)), d, out + half + c);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
