// Products of a decode step's few queries or weights with packed codes, which stand in the lanes and are unpacked
// there; one instance a Highway target. Included by kernels.cc after products-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Vectors of codes that are multiplied at once. An addition takes one cycle, so few sums hide it; four by four would
// not fit 16 registers.
constexpr int kCodeVectors = HWY_TARGET == HWY_SCALAR ? 1 : 2;
// Chunks that they are of.
constexpr int64_t kChunksAbreast = HWY_TARGET <= HWY_AVX3 ? 2 : 1;
// Queries that share each of them.
constexpr int kMostByCodes = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

// Of `channels` from one on, from a place of the block on, a multiple of kLanes.
HWY_INLINE CodeChunks code_chunks(const PackedSide& side, const uint8_t* block, int64_t place, int64_t channel,
                                  int64_t channels) {
  constexpr int64_t kAcross = kBlockTokens / kLanes, kFours = CodeChunks::kFours;
  const auto bytes = static_cast<int64_t>(chunk_bytes(side.codec)),
             block_bytes = static_cast<int64_t>(side.block_bytes);
  // From tile to tile: a block of several holds those that are multiplied at once.
  const int64_t blocks = side.block_tokens == kTile ? block_bytes : kTile * static_cast<int64_t>(side.row_bytes);
  const bool by_tokens = side.lanes == Lanes::kTokens;
  CodeChunks chunks;
  chunks.codec = side.codec;
  chunks.first = block + side.code_place(place, static_cast<int>(channel)).chunk * bytes;
  chunks.four = by_tokens ? bytes : bytes * side.head_dim / kLanes;
  chunks.across = by_tokens ? bytes * side.head_dim / kFour : bytes;
  chunks.fours = by_tokens ? bytes * kFours : blocks;
  chunks.block = by_tokens ? blocks : bytes * kAcross;
  chunks.next_across = by_tokens ? bytes * channels / kFour : bytes * kFours;
  chunks.next_fours = by_tokens ? bytes * kFours * kChunksAbreast : blocks;
  chunks.next_block = by_tokens ? blocks : chunks.next_across * kAcross;
  chunks.next = block + kBlocksAhead * block_bytes + channel * bytes * kBlockTokens / kChunk +
                (by_tokens ? place / kLanes * chunks.next_across : place / kFour * kChunksAbreast * bytes);
  return chunks;
}

// Rows of fours that are chunks of codes, unpacked when they are multiplied: few queries share them, so storing them
// first would take longer.
template <Codec kCodec>
struct CodeRows {
  static constexpr bool kCodes = true;
  CodeChunks chunks;
  int64_t lane = 0;  // in its chunk

  explicit HWY_INLINE CodeRows(const CodeChunks& all) : chunks(all) {}
  HWY_INLINE CodeRows at(int64_t lanes) const {
    CodeRows rows = *this;
    const int64_t block = lanes / kBlockTokens, across = lanes % kBlockTokens / kLanes;
    rows.chunks.first += block * chunks.block + across * chunks.across;
    rows.chunks.next += block * chunks.next_block + across * chunks.next_across;
    rows.lane = lanes % kLanes;
    return rows;
  }

  template <typename Kind>
  struct Cursor {
    static constexpr int kRows = kFour / Kind::kEach;
    const uint8_t* chunk;
    const uint8_t* told;
    int64_t four, across, lane;

    HWY_INLINE void next(Pairs (&in)[kRows][kCodeVectors]) {
#if HWY_TARGET == HWY_SCALAR
      const auto code = [&](int64_t i) { return code_at(kCodec, chunk, static_cast<int>(kFour * lane + i)); };
      for (int r = 0; r < kRows; ++r)
        in[r][0] = {static_cast<int16_t>(code(2 * r)), static_cast<int16_t>(code(2 * r + 1))};
#else
      constexpr auto kTold = kChunksAbreast * static_cast<int64_t>(chunk_bytes(kCodec));
      for (int64_t i = 0; i < kTold; i += 64) tell(told + i);
      told += kTold;
      Wide fours[kCodeVectors];
#if HWY_TARGET <= HWY_AVX3
      for (int v = 0; v < kCodeVectors; ++v) {
        Wide one[kWides];
        unpack_bytes<kCodec>(chunk + v * across, one);
        fours[v] = one[0];
      }
#else
      unpack_bytes<kCodec>(chunk, fours);
#endif
      for (int v = 0; v < kCodeVectors; ++v) {
        if constexpr (kRows == 1) {
          in[0][v] = fours[v];
        } else {
          in[0][v] = pairs_of_fours<false>(fours[v]);
          in[1][v] = pairs_of_fours<true>(fours[v]);
        }
      }
#endif
      chunk += four;
    }
  };
  // Rows of one block.
  template <typename Kind>
  HWY_INLINE Cursor<Kind> from(int64_t p) const {
    const int64_t block = p / CodeChunks::kFours;
    return {chunks.first + block * chunks.fours, chunks.next + block * chunks.next_fours, chunks.four, chunks.across,
            lane};
  }
  HWY_INLINE int64_t end(int64_t p, int64_t n) const {
    const int64_t last = p + CodeChunks::kFours;
    return last < n ? last : n;
  }
};

// Codes in the lanes: out[i][l] (+)= scale[l] sum(x[i] (code[l] - middle)) + centre[l] sum[i], for `width` lanes,
// rounded up to the vectors.
template <typename Kind, int kCount, typename Rows>
HWY_NOINLINE void add_codes(const int16_t* x, int64_t step_i, const Rounded& rounded, const LaneSpans& spans,
                            const Rows& codes, int64_t steps, const Affine& affine, int64_t width, bool accumulate,
                            float* out, int64_t out_stride) {
  constexpr int kVectors = kCodeVectors;
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Affine fit = affine;  // read once: `out` could be where they lie
  const Rounded of_first = rounded;
  const LaneSpans of = spans;
  const auto before = hn::FirstN(d, accumulate ? hn::Lanes(d) : 0);
  for (int64_t l = 0; l < width; l += kVectors * lanes) {
    const int64_t span = l >> of.bits;
    const Rounded r = of_first.from(span * of.rounded);
    VI sums[kCount][kVectors];
    multiply_lanes<Kind>(x + span * of.numbers, step_i, 2, steps, codes.at(l), sums);
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const auto step = hn::Set(d, r.steps[i]), middle = hn::Set(d, -fit.middle * r.wholes[i]),
                 sum = hn::Set(d, r.sums[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = l + v * lanes;
        float* place = out + i * out_stride + at;
        const auto total = hn::MulAdd(hn::LoadU(d, fit.centres + at), sum, hn::MaskedLoad(before, d, place));
        const auto products = hn::MulAdd(hn::ConvertTo(d, sums[i][v]), step, middle);
        hn::StoreU(hn::MulAdd(products, hn::LoadU(d, fit.scales + at), total), d, place);
      }
    }
  }
}

// All queries of a group.
template <typename Kind>
HWY_INLINE void add_products(const CodeProducts& all) {
  with_codec(all.codes.codec, [&](auto codec) HWY_ATTR {
    in_parts<kMostByCodes>(all.count, [&](auto queries, int64_t q) HWY_ATTR {
      add_codes<Kind, queries>(all.x + q * all.step, all.step, all.rounded.from(q), all.spans,
                               CodeRows<codec>(all.codes), all.fours, all.affine, all.width, all.accumulate,
                               all.out + q * all.out_stride, all.out_stride);
    });
  });
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
