// Products of a decode step's few queries or weights with packed codes, which stand in the lanes and are unpacked
// there; one instance a Highway target. Included by kernels.cc after products-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Vectors of codes that are multiplied at once. An addition takes one cycle, so few sums hide it; four by four would
// not fit 16 registers.
constexpr int kCodeVectors = HWY_TARGET == HWY_SCALAR ? 1 : 2;

// From a place of the block, a multiple of kLanes, and a channel on.
HWY_INLINE CodeChunks code_chunks(const PackedSide& side, const uint8_t* block, int64_t place, int64_t channel) {
  const auto bytes = static_cast<int64_t>(chunk_bytes(side.codec)), next = static_cast<int64_t>(side.block_bytes);
  const int64_t ahead = kBlocksAhead * next;
  const uint8_t* first = block + side.code_place(place, static_cast<int>(channel)).chunk * bytes;
  if (side.lanes == Lanes::kTokens)
    return {side.codec, first, bytes, bytes * side.head_dim / 2, bytes * CodeChunks::kPairs, next, ahead};
  const int64_t pair = bytes * side.head_dim / kLanes;
  return {side.codec, first, pair, bytes, next, bytes * kBlockTokens / kLanes, ahead};
}

#if HWY_TARGET <= HWY_AVX3
// Where the codes of a vector of fours lie in two chunks of `words` 16-bit words: the bytes, and how far to shift their
// lanes down then.
struct FourPlaces {
  HWY_ALIGN uint8_t bytes[2][4 * kLanes];
  HWY_ALIGN uint32_t shifts[kLanes];
  constexpr explicit FourPlaces(int words) : bytes(), shifts() {
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 4; ++i) {
        bytes[i % 2][4 * lane + i] = static_cast<uint8_t>(2 * (lane % words) + i / 2);
        bytes[1 - i % 2][4 * lane + i] = 0x80;  // nothing
      }
      shifts[lane] = static_cast<uint32_t>(lane / words * (words / 2));
    }
  }
};
constexpr FourPlaces kInt4Places(8), kInt2Places(4);

// Two chunks, the first one's codes before the other's.
template <Codec kCodec>
HWY_INLINE Pairs unpack_fours(const uint8_t* first, const uint8_t* second) {
  constexpr const FourPlaces& kPlaces = kCodec == Codec::kInt4 ? kInt4Places : kInt2Places;
  const hn::Repartition<uint8_t, DPairs> d8;
  const hn::Repartition<uint32_t, DPairs> d32;
  const auto part = [&](const uint8_t* chunk, int i) HWY_ATTR {
    const auto places = hn::Load(d8, kPlaces.bytes[i]);
    if constexpr (kCodec == Codec::kInt4) return hn::TableLookupBytesOr0(hn::LoadDup128(d8, chunk), places);
    uint64_t eight;
    __builtin_memcpy(&eight, chunk, 8);
    return hn::TableLookupBytesOr0(hn::BitCast(d8, hn::Set(hn::Repartition<uint64_t, DPairs>(), eight)), places);
  };
  const auto lanes = hn::BitCast(d32, hn::Or(part(first, 0), part(second, 1)));
  const auto codes = hn::And(hn::BitCast(d8, hn::Shr(lanes, hn::Load(d32, kPlaces.shifts))),
                             hn::Set(d8, kCodec == Codec::kInt4 ? 15 : 3));
  if constexpr (kCodec != Codec::kInt3) return hn::BitCast(DPairs(), codes);
  const auto tops = [](const uint8_t* chunk, uint64_t places) HWY_ATTR {
    uint32_t bits;
    __builtin_memcpy(&bits, chunk + 8, 4);
    return _pdep_u64(bits, places);
  };
  const __mmask64 with_top = tops(first, 0x5555555555555555) | tops(second, 0xaaaaaaaaaaaaaaaa);
  return Pairs{_mm512_mask_add_epi8(codes.raw, with_top, codes.raw, _mm512_set1_epi8(4))};
}
#endif

// Rows of pairs, or of fours, that are chunks of codes, unpacked when they are multiplied: few queries share them, so
// storing them first would take longer.
template <Codec kCodec>
struct CodeRows {
  static constexpr bool kCodes = true;
  CodeChunks chunks;
  const uint8_t* first;
  int64_t lane = 0;  // in its chunk
  int64_t between;   // blocks: what their rows are further apart than a block's own

  explicit HWY_INLINE CodeRows(const CodeChunks& all)
      : chunks(all), first(all.first), between(all.pairs - CodeChunks::kPairs * all.pair) {}
  HWY_INLINE CodeRows at(int64_t lanes) const {
    CodeRows rows = *this;
    rows.first += lanes / kBlockTokens * chunks.block + lanes % kBlockTokens / kLanes * chunks.across;
    rows.lane = lanes % kLanes;
    return rows;
  }
  template <typename Kind>
  HWY_INLINE void load(int64_t p, Pairs (&in)[kCodeVectors]) const {
    constexpr int64_t kPairs = Kind::kEach / 2, kRows = CodeChunks::kPairs / kPairs;
    const uint8_t* chunk = first + p * kPairs * chunks.pair + p / kRows * between;
#if HWY_TARGET == HWY_SCALAR
    const auto code = [&](int64_t i) { return code_at(kCodec, chunk, static_cast<int>(2 * lane + i)); };
    in[0] = {static_cast<int16_t>(code(0)), static_cast<int16_t>(code(1))};
#elif HWY_TARGET <= HWY_AVX3
    for (int v = 0; v < kCodeVectors; ++v, chunk += chunks.across) {
      hwy::Prefetch(chunk + chunks.ahead);
      if constexpr (kPairs == 1) {
        Wide codes[kWides];
        unpack_wide<kCodec>(chunk, codes);
        in[v] = codes[0];
      } else {
        hwy::Prefetch(chunk + chunks.pair + chunks.ahead);
        in[v] = unpack_fours<kCodec>(chunk, chunk + chunks.pair);
      }
    }
#else
    hwy::Prefetch(chunk + chunks.ahead);
    unpack_halves<kCodec>(chunk, in[0], in[1]);
#endif
  }
};

// Codes in the lanes: out[i][l] (+)= scale[l] sum(x[i] code[l]) + minimum[l] sum[i], for `width` lanes, rounded up to
// the vectors.
template <typename Kind, int kCount, typename Rows>
HWY_NOINLINE void add_codes(const int16_t* x, int64_t step_i, int64_t step_p, const Rounded* rounded, const Rows& codes,
                            int64_t steps, const Affine& affine, int64_t width, bool accumulate, float* out,
                            int64_t out_stride) {
  constexpr int kVectors = kCodeVectors;
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t l = 0; l < width; l += kVectors * lanes) {
    VI sums[kCount][kVectors];
    multiply_lanes<Kind>(x, step_i, step_p, steps, codes.at(l), sums);
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const Rounded& r = rounded[i];
      const auto step = hn::Set(d, r.step), middle = hn::Set(d, affine.middle * r.rest), sum = hn::Set(d, r.sum);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = l + v * lanes;
        float* place = out + i * out_stride + at;
        auto total = hn::Mul(hn::LoadU(d, affine.minimums + at), sum);
        if (accumulate) total = hn::Add(total, hn::LoadU(d, place));
        const auto products = hn::MulAdd(hn::ConvertTo(d, sums[i][v]), step, middle);
        hn::StoreU(hn::MulAdd(products, hn::LoadU(d, affine.scales + at), total), d, place);
      }
    }
  }
}

// Calls body(count, first) with a compile-time count until the whole group is done: up to four share each load (eight
// where 32 registers hold their sums), and none is left alone with its own sums if that can be helped.
template <typename Body>
HWY_INLINE void by_few(int64_t group, Body body) {
  for (int64_t g = 0; g < group;) {
#if HWY_TARGET <= HWY_AVX3
    const int64_t all = group - g;
    if (all == 5) return body(std::integral_constant<int, 5>(), g);
    if (all == 6) return body(std::integral_constant<int, 6>(), g);
    if (all == 7) return body(std::integral_constant<int, 7>(), g);
    if (all == 8) return body(std::integral_constant<int, 8>(), g);
#endif
    const int64_t left = group - g;
    if (left == 1) {
      body(std::integral_constant<int, 1>(), g);
      return;
    }
    if (left == 2) {
      body(std::integral_constant<int, 2>(), g);
      return;
    }
    if (left == 4 || left == 7 || left == 8) {
      body(std::integral_constant<int, 4>(), g);
      g += 4;
    } else {
      body(std::integral_constant<int, 3>(), g);
      g += 3;
    }
  }
}

// Calls body(first, count) for the queries of a group that share tiles.
template <typename Body>
HWY_INLINE void each_tile_of_queries(int64_t group, Body body) {
  for (int64_t q = 0; q < group; q += kTileQueries) body(q, group - q < kTileQueries ? group - q : kTileQueries);
}

// All queries of a group; tiles multiply by pairs.
template <typename Kind>
HWY_INLINE void add_products(const TileProducts* tiles, const CodeProducts& all) {
  if (tiles != nullptr && all.pairs % 2 == 0) {
    return each_tile_of_queries(all.count, [&](int64_t q, int64_t n) HWY_ATTR { tiles->add_codes(all.of(q, n)); });
  }
  with_codec(all.codes.codec, [&](auto codec) HWY_ATTR {
    by_few(all.count, [&](auto queries, int64_t q) HWY_ATTR {
      const CodeProducts few = all.of(q, queries);
      add_codes<Kind, queries>(few.x, few.step, 2, few.rounded, CodeRows<codec>(few.codes),
                               (2 * few.pairs + Kind::kEach - 1) / Kind::kEach, few.affine, few.width, few.accumulate,
                               few.out, few.out_stride);
    });
  });
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
