// Packed codes as vectors, one instance a Highway target. Included by kernels.cc inside foreach_target, after
// codes-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

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

#if HWY_TARGET == HWY_SCALAR
// The codes of a chunk by pairs: the first two of every lane, then the others.
template <Codec kCodec>
HWY_INLINE void unpack_chunk(const uint8_t* chunk, int16_t* first, int16_t* second) {
  for (int i = 0; i < 2 * kLanes; ++i) {
    first[i] = code_at(kCodec, chunk, i / 2 * kFour + i % 2);
    second[i] = code_at(kCodec, chunk, i / 2 * kFour + 2 + i % 2);
  }
}
#else
using DWide = hn::CappedTag<int16_t, kChunk / 2>;
using Wide = hn::Vec<DWide>;
constexpr int kWides = kChunk / 2 / static_cast<int>(hn::MaxLanes(DWide()));  // that hold a chunk

// The codes of a chunk, a byte each.
#if HWY_TARGET <= HWY_AVX3
template <Codec kCodec>
HWY_INLINE void unpack_bytes(const uint8_t* chunk, Wide (&fours)[kWides]) {
  if constexpr (kCodec == Codec::kInt8) {
    fours[0].raw = _mm512_loadu_si512(chunk);
  } else if constexpr (kCodec == Codec::kInt4) {
    const auto* at = reinterpret_cast<const __m256i*>(chunk);
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(4), 1);
    const __m512i codes = _mm512_srlv_epi32(_mm512_broadcast_i64x4(_mm256_loadu_si256(at)), shifts);
    fours[0].raw = _mm512_and_si512(codes, _mm512_set1_epi8(15));
  } else {
    const auto* at = reinterpret_cast<const __m128i*>(chunk);
    const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    const __m512i shifted = _mm512_srlv_epi32(_mm512_broadcast_i32x4(_mm_loadu_si128(at)), shifts);
    const __m512i codes = _mm512_and_si512(shifted, _mm512_set1_epi8(3));
    fours[0].raw = codes;
    if constexpr (kCodec == Codec::kInt3) {
      uint64_t tops;
      __builtin_memcpy(&tops, chunk + 16, 8);
      fours[0].raw = _mm512_mask_add_epi8(codes, tops, codes, _mm512_set1_epi8(4));
    }
  }
}
#else
template <Codec kCodec>
HWY_INLINE void unpack_bytes(const uint8_t* chunk, Wide (&fours)[kWides]) {
  if constexpr (kCodec == Codec::kInt8) {
    for (int i = 0; i < 2; ++i) fours[i].raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk) + i);
  } else if constexpr (kCodec == Codec::kInt4) {
    const __m256i two = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk)), mask = _mm256_set1_epi8(15);
    fours[0].raw = _mm256_and_si256(two, mask);
    fours[1].raw = _mm256_and_si256(_mm256_srli_epi32(two, 4), mask);
  } else {
    const __m256i four = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk)));
    const __m256i bits = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    // The third bits of eight codes to each of these.
    const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    for (int i = 0; i < 2; ++i) {
      const __m256i shifts = _mm256_setr_epi32(4 * i, 4 * i, 4 * i, 4 * i, 4 * i + 2, 4 * i + 2, 4 * i + 2, 4 * i + 2);
      fours[i].raw = _mm256_and_si256(_mm256_srlv_epi32(four, shifts), _mm256_set1_epi8(3));
      if constexpr (kCodec == Codec::kInt3) {
        int32_t tops;
        __builtin_memcpy(&tops, chunk + 16 + 4 * i, 4);
        const __m256i held = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(tops), spread), bits);
        const __m256i top = _mm256_and_si256(_mm256_cmpeq_epi8(held, bits), _mm256_set1_epi8(4));
        fours[i].raw = _mm256_or_si256(fours[i].raw, top);
      }
    }
  }
}
#endif

// The first two codes of every lane, or the others, as numbers of 16 bits.
template <bool kOthers>
HWY_INLINE Wide pairs_of_fours(Wide fours) {
  const hn::Repartition<uint8_t, DWide> d;
  constexpr uint8_t kAt = kOthers ? 2 : 0, kNone = 0x80;
  HWY_ALIGN static constexpr uint8_t kBytes[16] = {kAt,     kNone, kAt + 1, kNone, kAt + 4,  kNone, kAt + 5,  kNone,
                                                   kAt + 8, kNone, kAt + 9, kNone, kAt + 12, kNone, kAt + 13, kNone};
  return hn::BitCast(DWide(), hn::TableLookupBytesOr0(hn::BitCast(d, fours), hn::LoadDup128(d, kBytes)));
}

// The codes of a chunk by pairs: the first two of every lane, then the others.
template <Codec kCodec>
HWY_INLINE void unpack_pairs(const uint8_t* chunk, Wide (&first)[kWides], Wide (&second)[kWides]) {
  Wide fours[kWides];
  unpack_bytes<kCodec>(chunk, fours);
#pragma GCC unroll 2
  for (int i = 0; i < kWides; ++i) {
    first[i] = pairs_of_fours<false>(fours[i]);
    second[i] = pairs_of_fours<true>(fours[i]);
  }
}
template <Codec kCodec>
HWY_INLINE void unpack_chunk(const uint8_t* chunk, int16_t* first, int16_t* second) {
  const DWide d;
  Wide a[kWides], b[kWides];
  unpack_pairs<kCodec>(chunk, a, b);
#pragma GCC unroll 2
  for (int i = 0; i < kWides; ++i) {
    hn::StoreU(a[i], d, first + i * static_cast<int64_t>(hn::Lanes(d)));
    hn::StoreU(b[i], d, second + i * static_cast<int64_t>(hn::Lanes(d)));
  }
}
#endif

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

// Calls body(codec, chunk, lane, row) for the chunks of `count` tokens of a block from `place` on (a multiple of
// kLanes), rounded up to whole chunks: of its lanes the first, and of rows of fours of codes that of its own, by the
// side's lanes. Tells the memory of the next block.
template <typename Body>
HWY_INLINE void each_chunk(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, Body body) {
  with_codec(side.codec, [&](auto codec) HWY_ATTR {
    constexpr size_t kBytes = chunk_bytes(codec);
    const uint8_t* chunk = block + static_cast<size_t>(side.code_place(place, 0).chunk) * kBytes;
    const auto visit = [&](int64_t lane, int64_t row) HWY_ATTR {
      hwy::Prefetch(chunk + side.block_bytes);
      body(codec, chunk, lane, row);
      chunk += kBytes;
    };
    if (side.lanes == Lanes::kTokens) {
      for (int64_t t = 0; t < count; t += kLanes) {
        for (int64_t row = 0; row < side.head_dim / kFour; ++row) visit(t, row);
      }
    } else {
      for (int64_t row = 0; row < (count + kFour - 1) / kFour; ++row) {
        for (int64_t c = 0; c < side.head_dim; c += kLanes) visit(c, row);
      }
    }
  });
}
HWY_INLINE int64_t tile_lanes(const PackedSide& side) { return side.lanes == Lanes::kTokens ? kTile : side.head_dim; }

// Codes as above, as they are multiplied by pairs: int16 [channel / 2][kTile][2] or [token / 2][channel][2].
HWY_INLINE void unpack_tile(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int16_t* tile) {
  const int64_t width = 2 * tile_lanes(side);
  each_chunk(side, block, place, count, [=](auto codec, const uint8_t* chunk, int64_t lane, int64_t row) HWY_ATTR {
    int16_t* to = tile + 2 * row * width + 2 * lane;
    unpack_chunk<codec>(chunk, to, to + width);
  });
}
#if HWY_TARGET <= HWY_AVX3
// By fours: bytes [channel / 4][kTile][4] or [token / 4][channel][4]; with a sign, those of 8 bits are less 128.
template <bool kSigned>
HWY_INLINE void unpack_tile_fours(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count,
                                  int16_t* tile) {
  const int64_t width = 2 * tile_lanes(side);
  each_chunk(side, block, place, count, [=](auto codec, const uint8_t* chunk, int64_t lane, int64_t row) HWY_ATTR {
    Wide fours[kWides];
    unpack_bytes<codec>(chunk, fours);
    if constexpr (kSigned && codec == Codec::kInt8)
      fours[0] = hn::Xor(fours[0], hn::Set(DWide(), static_cast<int16_t>(0x8080)));
    hn::StoreU(fours[0], DWide(), tile + row * width + 2 * lane);
  });
}
#endif

#if HWY_TARGET != HWY_SCALAR
// Four rows of four words of 4 bytes, `step` apart, become rows to places `row` apart.
HWY_INLINE void transpose_words(const uint8_t* from, int64_t step, uint8_t* to, int64_t row) {
  const hn::Full128<uint32_t> d;
  const hn::Full128<uint64_t> dw;
  const auto word = [&](int i) HWY_ATTR { return hn::LoadU(d, reinterpret_cast<const uint32_t*>(from + i * step)); };
  const auto put = [&](int i, auto words)
                       HWY_ATTR { hn::StoreU(words, dw, reinterpret_cast<uint64_t*>(to + i * row)); };
  const auto ab = hn::BitCast(dw, hn::InterleaveLower(d, word(0), word(1)));
  const auto AB = hn::BitCast(dw, hn::InterleaveUpper(d, word(0), word(1)));
  const auto ce = hn::BitCast(dw, hn::InterleaveLower(d, word(2), word(3)));
  const auto CE = hn::BitCast(dw, hn::InterleaveUpper(d, word(2), word(3)));
  put(0, hn::InterleaveLower(dw, ab, ce));
  put(1, hn::InterleaveUpper(dw, ab, ce));
  put(2, hn::InterleaveLower(dw, AB, CE));
  put(3, hn::InterleaveUpper(dw, AB, CE));
}

// The codes of a chunk, a byte each, [kLanes][4].
template <Codec kCodec>
HWY_INLINE void store_bytes(const uint8_t* chunk, uint8_t* out) {
  const DWide d;
  Wide fours[kWides];
  unpack_bytes<kCodec>(chunk, fours);
#pragma GCC unroll 2
  for (int i = 0; i < kWides; ++i) {
    const auto at = i * static_cast<int64_t>(hn::Lanes(d));
    hn::StoreU(fours[i], d, reinterpret_cast<int16_t*>(out) + at);
  }
}
// The same, the four lanes of 16 bytes by the places of their codes: [kLanes / 4][4][4].
template <Codec kCodec>
HWY_INLINE void store_by_place(const uint8_t* chunk, uint8_t* out) {
  const hn::Repartition<uint8_t, DWide> d;
  HWY_ALIGN static constexpr uint8_t kPlaces[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  Wide fours[kWides];
  unpack_bytes<kCodec>(chunk, fours);
#pragma GCC unroll 2
  for (int i = 0; i < kWides; ++i) {
    const auto at = i * static_cast<int64_t>(hn::Lanes(d));
    hn::StoreU(hn::TableLookupBytes(hn::BitCast(d, fours[i]), hn::LoadDup128(d, kPlaces)), d, out + at);
  }
}
#endif

// Codes of kLanes tokens of a block from `place` on (a multiple of that), as rows [kLanes][head_dim].
HWY_INLINE void unpack_rows(const PackedSide& side, const uint8_t* block, int64_t place, uint8_t* rows) {
  const int64_t d = side.head_dim;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t t = 0; t < kLanes; ++t) {
    for (int64_t c = 0; c < d; ++c) {
      const CodePlace at = side.code_place(place + t, static_cast<int>(c));
      rows[t * d + c] = code_at(side.codec, block + at.chunk * static_cast<int64_t>(chunk_bytes(side.codec)), at.at);
    }
  }
#else
  with_codec(side.codec, [&](auto codec) HWY_ATTR {
    const size_t bytes = chunk_bytes(codec);
    const uint8_t* chunk = block + static_cast<size_t>(side.code_place(place, 0).chunk) * bytes;
    HWY_ALIGN uint8_t codes[4 * kChunk];
    if (side.lanes == Lanes::kTokens) {
      for (int64_t c = 0; c < d; c += 4 * kFour) {
        for (int i = 0; i < 4; ++i, chunk += bytes) store_bytes<codec>(chunk, codes + i * kChunk);
        for (int64_t t = 0; t < kLanes; t += 4) transpose_words(codes + t * kFour, kChunk, rows + t * d + c, d);
      }
    } else {
      for (int64_t t = 0; t < kLanes; t += kFour) {
        for (int64_t c = 0; c < d; c += kLanes, chunk += bytes) {
          store_by_place<codec>(chunk, codes);
          transpose_words(codes, kChunk / 4, rows + t * d + c, d);
        }
      }
    }
  });
#endif
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
