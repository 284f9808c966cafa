// Packed codes and their scales as vectors, one instance a Highway target; quant/codec.h and packed_side.h are the
// specification. Included by kernels.cc inside foreach_target, after rows-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// --- writing

// The two codes of one lane of a chunk.
HWY_INLINE void put_lane(Codec codec, uint8_t* chunk, int lane, const uint8_t* two) {
  const unsigned codes = static_cast<unsigned>(two[0] | two[1] << 8);
  const auto put = [&](int word, int bit, unsigned mask) {
    uint16_t bits;
    __builtin_memcpy(&bits, chunk + 2 * word, 2);
    bits = static_cast<uint16_t>((bits & ~(mask << bit)) | (codes & mask) << bit);
    __builtin_memcpy(chunk + 2 * word, &bits, 2);
  };
  if (codec == Codec::kInt8) return put(lane, 0, 0xffff);
  if (codec == Codec::kInt4) return put(lane % 8, lane / 8 * 4, 0x0f0f);
  put(lane % 4, lane / 4 * 2, 0x0303);
  if (codec == Codec::kInt2) return;
  uint32_t tops;
  __builtin_memcpy(&tops, chunk + 8, 4);
  tops = (tops & ~(3u << (2 * lane))) | ((codes >> 2 & 1u) | (codes >> 9 & 2u)) << (2 * lane);
  __builtin_memcpy(chunk + 8, &tops, 4);
}

// The first or second codes of all lanes of a chunk.
HWY_INLINE void put_all_lanes(Codec codec, uint8_t* chunk, int which, const uint8_t* codes) {
  uint8_t* out = chunk + which;
  if (codec == Codec::kInt8) {
    for (int i = 0; i < kLanes; ++i) out[2 * i] = codes[i];
  } else if (codec == Codec::kInt4) {
    for (int i = 0; i < 8; ++i) out[2 * i] = static_cast<uint8_t>(codes[i] | codes[i + 8] << 4);
  } else {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = static_cast<uint8_t>((codes[i] & 3) | (codes[i + 4] & 3) << 2 | (codes[i + 8] & 3) << 4 |
                                        (codes[i + 12] & 3) << 6);
    }
    if (codec == Codec::kInt2) return;
    uint32_t tops;
    __builtin_memcpy(&tops, chunk + 8, 4);
    tops &= ~(0x55555555u << which);
    for (int i = 0; i < kLanes; ++i) tops |= static_cast<uint32_t>(codes[i] >> 2) << (2 * i + which);
    __builtin_memcpy(chunk + 8, &tops, 4);
  }
}

// Channels [c, c + n) of the token at `place` of its block, n a multiple of kLanes.
HWY_INLINE void put_codes(const PackedSide& side, uint8_t* block, int64_t place, int c, int n, const uint8_t* codes) {
  const size_t bytes = chunk_bytes(side.codec);
  uint8_t* chunk = block + static_cast<size_t>(side.code_place(place, c).chunk) * bytes;
  if (side.lanes == Lanes::kTokens) {
    for (int i = 0; i < n; i += 2, chunk += bytes)
      put_lane(side.codec, chunk, static_cast<int>(place % kLanes), codes + i);
  } else {
    for (int i = 0; i < n; i += kLanes, chunk += bytes)
      put_all_lanes(side.codec, chunk, static_cast<int>(place % 2), codes + i);
  }
}

// --- reading

#if HWY_TARGET == HWY_SCALAR
template <Codec kCodec>
HWY_INLINE void unpack_chunk(const uint8_t* chunk, int16_t* out) {
  for (int i = 0; i < kChunk; ++i) out[i] = code_at(kCodec, chunk, i);
}
#else
using DCodes = hn::CappedTag<int16_t, kLanes>;
using Codes = hn::Vec<DCodes>;

// The codes of a chunk in their order, in two vectors.
template <Codec kCodec>
HWY_INLINE void unpack_halves(const uint8_t* chunk, Codes& first, Codes& second) {
  const DCodes d;
  const hn::Rebind<uint8_t, DCodes> d8;
  const auto mask = [&](int bits) HWY_ATTR { return hn::Set(d, static_cast<int16_t>(bits)); };
  if constexpr (kCodec == Codec::kInt8) {
    first = hn::PromoteTo(d, hn::LoadU(d8, chunk));
    second = hn::PromoteTo(d, hn::LoadU(d8, chunk + kLanes));
  } else if constexpr (kCodec == Codec::kInt4) {
    const auto two = hn::PromoteTo(d, hn::LoadU(d8, chunk));
    first = hn::And(two, mask(15));
    second = hn::ShiftRight<4>(two);
  } else {
    // Eight bytes twice: the upper eight lanes are shifted further. Shifts of 32 bits bring bits of a neighbour in
    // above the two that are kept.
    HWY_ALIGN static constexpr uint32_t kShifts[2][8] = {{0, 0, 0, 0, 2, 2, 2, 2}, {4, 4, 4, 4, 6, 6, 6, 6}};
    HWY_ALIGN static constexpr int16_t kBits[kLanes] = {1,       1 << 1,  1 << 2,  1 << 3, 1 << 4,  1 << 5,
                                                        1 << 6,  1 << 7,  1 << 8,  1 << 9, 1 << 10, 1 << 11,
                                                        1 << 12, 1 << 13, 1 << 14, -32768};
    const hn::Repartition<uint32_t, DCodes> dw;
    uint64_t fours;
    __builtin_memcpy(&fours, chunk, 8);
    const auto four = hn::PromoteTo(d, hn::BitCast(d8, hn::Set(hn::Repartition<uint64_t, decltype(d8)>(), fours)));
    const auto part = [&](int which) HWY_ATTR {
      const auto shifted = hn::BitCast(d, hn::Shr(hn::BitCast(dw, four), hn::Load(dw, kShifts[which])));
      auto codes = hn::And(shifted, mask(3));
      if constexpr (kCodec == Codec::kInt3) {
        int16_t tops;
        __builtin_memcpy(&tops, chunk + 8 + 2 * which, 2);
        const auto bits = hn::Load(d, kBits);
        codes = hn::Or(codes, hn::IfThenElseZero(hn::Eq(hn::And(hn::Set(d, tops), bits), bits), mask(4)));
      }
      return codes;
    };
    first = part(0);
    second = part(1);
  }
}

// The same in vectors of the target.
using DWide = hn::CappedTag<int16_t, kChunk>;
using Wide = hn::Vec<DWide>;
constexpr int kWides = kChunk / static_cast<int>(hn::MaxLanes(DWide()));
template <Codec kCodec>
HWY_INLINE void unpack_wide(const uint8_t* chunk, Wide (&codes)[kWides]) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (kCodec == Codec::kInt8) {
    codes[0] = hn::PromoteTo(DWide(), hn::LoadU(hn::Rebind<uint8_t, DWide>(), chunk));
    return;
  }
  Codes first, second;
  unpack_halves<kCodec>(chunk, first, second);
  codes[0] = hn::Combine(DWide(), second, first);
#else
  unpack_halves<kCodec>(chunk, codes[0], codes[1]);
#endif
}

template <Codec kCodec>
HWY_INLINE void unpack_chunk(const uint8_t* chunk, int16_t* out) {
  const DCodes d;
  Codes first, second;
  unpack_halves<kCodec>(chunk, first, second);
  hn::StoreU(first, d, out);
  hn::StoreU(second, d, out + kLanes);
}
#endif

// Calls body(codec) with a compile-time codec of those that have codes.
template <typename Body>
HWY_INLINE void with_codec(Codec codec, Body body) {
  switch (codec) {
    case Codec::kBf16:
      return;
    case Codec::kInt8:
      return body(std::integral_constant<Codec, Codec::kInt8>());
    case Codec::kInt4:
      return body(std::integral_constant<Codec, Codec::kInt4>());
    case Codec::kInt3:
      return body(std::integral_constant<Codec, Codec::kInt3>());
    case Codec::kInt2:
      return body(std::integral_constant<Codec, Codec::kInt2>());
  }
}

// Chunks one after the other to places `step` apart; the memory is told of those `ahead` bytes on.
template <Codec kCodec>
HWY_INLINE void unpack_chunks(const uint8_t* chunk, int64_t count, size_t ahead, int16_t* out, int64_t step) {
  for (int64_t i = 0; i < count; ++i, chunk += chunk_bytes(kCodec), out += step) {
    hwy::Prefetch(chunk + ahead);
    unpack_chunk<kCodec>(chunk, out);
  }
}

// Tells the memory of a line that a second-level cache is to have: it waits for more of them at once than a first-level
// cache (bench/results/2026-11-30-huge-pages-xeon-2core.md).
HWY_INLINE void tell(const void* line) { __builtin_prefetch(line, 0, 2); }

// How far ahead the memory is told of what one token reads: a run. One block takes less time than the memory does.
constexpr int64_t kBlocksAhead = kRun / kTile;

// Tells the memory of the scales of a block.
HWY_INLINE void prefetch_fits(const PackedSide& side, const uint8_t* next) {
  for (size_t at = side.scales_offset; at < side.block_bytes; at += 64) tell(next + at);
}
// Of those of the blocks after a run of these. Codes are told of while they are multiplied (CodeRows): all at once, the
// memory's queue would be full and arithmetic would wait for it.
HWY_INLINE void prefetch_run_fits(const PackedSide& side, const uint8_t* block, int64_t tokens) {
  for (int64_t t = 0; t < tokens; t += kTile, block += side.block_bytes)
    prefetch_fits(side, block + kBlocksAhead * side.block_bytes);
}

// Codes of `count` tokens of a block from `place` on (a multiple of kLanes), rounded up to whole chunks, as they are
// multiplied: int16 [channel / 2][kTile][2] or [token / 2][channel][2], by the side's lanes. Reads ahead in the next
// block.
HWY_INLINE void unpack_tile(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int16_t* tile) {
  const int64_t first = side.code_place(place, 0).chunk, pairs = side.head_dim / 2;
  const size_t ahead = side.block_bytes;
  with_codec(side.codec, [=, lanes = side.lanes](auto codec) HWY_ATTR {
    constexpr size_t kBytes = chunk_bytes(codec);
    const uint8_t* chunk = block + static_cast<size_t>(first) * kBytes;
    if (lanes == Lanes::kTokens) {
      for (int64_t t = 0; t < count; t += kLanes, chunk += static_cast<size_t>(pairs) * kBytes)
        unpack_chunks<codec>(chunk, pairs, ahead, tile + 2 * t, 2 * kTile);
    } else {
      unpack_chunks<codec>(chunk, (count + 1) / 2 * (2 * pairs / kLanes), ahead, tile, kChunk);
    }
  });
}

// Lanes of four rows [4][4] of pairs become rows.
HWY_INLINE void transpose_pairs(const int16_t* from, int64_t from_stride, int16_t* to, int64_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 8; ++j) to[i * to_stride + j] = from[j / 2 * from_stride + 2 * i + j % 2];
  }
#else
  const hn::Full128<uint32_t> d;
  const hn::Full128<uint64_t> dw;
  const auto row = [&](int i)
                       HWY_ATTR { return hn::LoadU(d, reinterpret_cast<const uint32_t*>(from + i * from_stride)); };
  const auto put = [&](int i, auto pairs)
                       HWY_ATTR { hn::StoreU(pairs, dw, reinterpret_cast<uint64_t*>(to + i * to_stride)); };
  const auto ab = hn::BitCast(dw, hn::InterleaveLower(d, row(0), row(1)));
  const auto AB = hn::BitCast(dw, hn::InterleaveUpper(d, row(0), row(1)));
  const auto ce = hn::BitCast(dw, hn::InterleaveLower(d, row(2), row(3)));
  const auto CE = hn::BitCast(dw, hn::InterleaveUpper(d, row(2), row(3)));
  put(0, hn::InterleaveLower(dw, ab, ce));
  put(1, hn::InterleaveUpper(dw, ab, ce));
  put(2, hn::InterleaveLower(dw, AB, CE));
  put(3, hn::InterleaveUpper(dw, AB, CE));
#endif
}

// Codes of kLanes tokens of a block from `place` on (a multiple of that), as rows int16 [kLanes][head_dim].
HWY_INLINE void unpack_rows(const PackedSide& side, const uint8_t* block, int64_t place, int16_t* rows) {
  const int64_t d = side.head_dim;
  with_codec(side.codec, [&](auto codec) HWY_ATTR {
    const size_t bytes = chunk_bytes(codec);
    const uint8_t* chunk = block + static_cast<size_t>(side.code_place(place, 0).chunk) * bytes;
    HWY_ALIGN int16_t codes[4 * kChunk];
    if (side.lanes == Lanes::kTokens) {
      for (int64_t c = 0; c < d; c += 8) {
        for (int i = 0; i < 4; ++i, chunk += bytes) unpack_chunk<codec>(chunk, codes + i * kChunk);
        for (int t = 0; t < kLanes; t += 4) transpose_pairs(codes + 2 * t, kChunk, rows + t * d + c, d);
      }
    } else {
      for (int t = 0; t < kLanes; t += 2) {
        for (int64_t c = 0; c < d; c += kLanes, chunk += bytes) {
          unpack_chunk<codec>(chunk, codes);
          for (int i = 0; i < kLanes; ++i) rows[t * d + c + i] = codes[2 * i];
          for (int i = 0; i < kLanes; ++i) rows[(t + 1) * d + c + i] = codes[2 * i + 1];
        }
      }
    }
  });
}

// --- scales and minimums

// In hardware where the target has F16C.
HWY_INLINE VF load_halves([[maybe_unused]] DF d, const f16* in) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, to_float(*in));
#else
  const hn::Rebind<hwy::float16_t, DF> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(in)));
#endif
}

// clang does not grant F16C to a function without vectors.
HWY_INLINE float half_to_float(f16 x) {
#if HWY_TARGET == HWY_SCALAR || defined(__clang__)
  return to_float(x);
#else
  return _cvtsh_ss(x.bits);
#endif
}

HWY_INLINE const f16* scales_of(const PackedSide& side, const uint8_t* block, int64_t place, int g) {
  return reinterpret_cast<const f16*>(block + side.scales_offset) + side.fit_index(place, g);
}
HWY_INLINE const f16* minimums_of(const PackedSide& side, const uint8_t* block, int64_t place, int g) {
  return reinterpret_cast<const f16*>(block + side.minimums_offset) + side.fit_index(place, g);
}

// Scales and minimums of one group of `count` tokens (a block's, from `place` on) where groups lie inside a token;
// rounded up to a multiple of kLanes, zero behind the last token.
HWY_INLINE void token_fits(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int g,
                           float* scales, float* minimums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const f16* scale = scales_of(side, block, place, g);
  const f16* minimum = minimums_of(side, block, place, g);
  const auto implied = hn::Set(d, symmetric_minimum(1, side.levels()));
  for (int64_t t = 0; t < (count + kLanes - 1) / kLanes * kLanes; t += lanes) {
    const auto held = hn::FirstN(d, static_cast<size_t>(count > t ? count - t : 0));
    const auto factor = hn::IfThenElseZero(held, load_halves(d, scale + t));
    hn::StoreU(factor, d, scales + t);
    const auto least =
        side.fit == Fit::kSymmetric ? hn::Mul(factor, implied) : hn::IfThenElseZero(held, load_halves(d, minimum + t));
    hn::StoreU(least, d, minimums + t);
  }
}

// Scales and minimums of every channel [head_dim] where groups reach over tokens: of the span that holds `place`.
HWY_INLINE void channel_fits(const PackedSide& side, const uint8_t* block, int64_t place, float* scales,
                             float* minimums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const bool symmetric = side.fit == Fit::kSymmetric;
  const auto implied = hn::Set(d, symmetric_minimum(1, side.levels()));
  const f16* scale = side.span == 0 ? &side.whole->scale : scales_of(side, block, place, 0);
  const f16* minimum = side.span == 0 ? &side.whole->minimum : minimums_of(side, block, place, 0);
  for (int64_t c = 0; c < side.head_dim; c += lanes) {
    const int64_t g = side.span == 0 ? 0 : c / side.group;
    const auto factor = side.group == 1 ? load_halves(d, scale + c) : hn::Set(d, half_to_float(scale[g]));
    hn::StoreU(factor, d, scales + c);
    if (symmetric) {
      hn::StoreU(hn::Mul(factor, implied), d, minimums + c);
    } else {
      hn::StoreU(side.group == 1 ? load_halves(d, minimum + c) : hn::Set(d, half_to_float(minimum[g])), d,
                 minimums + c);
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
