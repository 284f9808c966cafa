// Products of queries with keys and of weights with values, from packed codes and from exact rows as they lie; one
// instance a Highway target. docs/METHODS.md, "Products of codes", states the method and its error. Included by
// kernels.cc after decoding-inl.h.
//
// A code is not decoded: sum(x (m + s code)) = s sum(x (code - middle)) + (m + s middle) sum(x), with x rounded to
// int16 or bytes in the first sum, whose products with codes are exact in int32.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// --- int16 by pairs: the two of a lane are multiplied and added to its int32

using DI = hn::RebindToSigned<DF>;
using VI = hn::Vec<DI>;

#if HWY_TARGET == HWY_SCALAR
struct Pairs {
  int16_t first, second;
};
HWY_INLINE Pairs load_pairs(const int16_t* in) { return {in[0], in[1]}; }
HWY_INLINE Pairs same_pairs(const int16_t* pair) { return load_pairs(pair); }
HWY_INLINE Pairs pairs_of(VI lanes) {
  const int32_t both = hn::GetLane(lanes);
  return {static_cast<int16_t>(both), static_cast<int16_t>(both >> 16)};
}
using Sums = VI;
HWY_INLINE Sums add_products(Pairs a, Pairs b, Sums sums) {
  return hn::Set(DI(), hn::GetLane(sums) + a.first * b.first + a.second * b.second);
}
HWY_INLINE VI lanes_of(Sums sums) { return sums; }
#else
using DPairs = hn::Repartition<int16_t, DI>;
using Pairs = hn::Vec<DPairs>;
HWY_INLINE Pairs load_pairs(const int16_t* in) { return hn::LoadU(DPairs(), in); }
HWY_INLINE Pairs pairs_of(VI lanes) { return hn::BitCast(DPairs(), lanes); }
// One pair in every lane.
HWY_INLINE Pairs same_pairs(const int16_t* pair) {
  int32_t both;
  __builtin_memcpy(&both, pair, 4);
  return hn::BitCast(DPairs(), hn::Set(DI(), both));
}
// Sums are of the type that the instruction has: as __m512i or __m256i, g++ 12 copies or spills all of a loop's in
// every turn.
#if HWY_TARGET <= HWY_AVX3
using Sums = __v16si;
HWY_INLINE Sums add_products(Pairs a, Pairs b, Sums sums) {
  return reinterpret_cast<Sums>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sums), a.raw, b.raw));
}
#else
using Sums = __v8si;
HWY_INLINE Sums add_products(Pairs a, Pairs b, Sums sums) {
  return sums + reinterpret_cast<Sums>(_mm256_madd_epi16(a.raw, b.raw));
}
#endif
HWY_INLINE VI lanes_of(Sums sums) { return VI{reinterpret_cast<decltype(VI::raw)>(sums)}; }
#endif

struct Adding {
  template <typename V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct Highest {
  template <typename V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
};
// Of the lanes of four vectors: sums, or the highest.
template <typename Join>
HWY_INLINE void join_lanes([[maybe_unused]] Join join, VF a, VF b, VF c, VF e, float* out) {
#if HWY_TARGET == HWY_SCALAR
  const VF all[4] = {a, b, c, e};
  for (int i = 0; i < 4; ++i) out[i] = hn::GetLane(all[i]);
#else
  const DF d;
  const hn::Repartition<double, DF> dw;
  const auto ab = join(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const auto ce = join(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto low = hn::InterleaveLower(dw, hn::BitCast(dw, ab), hn::BitCast(dw, ce));
  const auto high = hn::InterleaveUpper(dw, hn::BitCast(dw, ab), hn::BitCast(dw, ce));
  const auto fours = join(hn::BitCast(d, low), hn::BitCast(d, high));
  const hn::Half<DF> dh;
  const auto halves = join(hn::LowerHalf(dh, fours), hn::UpperHalf(dh, fours));
#if HWY_TARGET <= HWY_AVX3
  const hn::Half<hn::Half<DF> > dq;
  hn::StoreU(join(hn::LowerHalf(dq, halves), hn::UpperHalf(dq, halves)), dq, out);
#else
  hn::StoreU(halves, dh, out);
#endif
#endif
}

// For codes whose scale is folded into what they are multiplied with.
struct Ones {
  float ones[kLargestHead];
  constexpr Ones() : ones() {
    for (float& one : ones) one = 1;
  }
};
HWY_ALIGN constexpr Ones kOnes;
HWY_ALIGN constexpr float kZeros[kLargestHead] = {};

// Ones for the first tokens of a tile, zeros behind them.
struct FirstOnes {
  float ones[kTile];
  explicit HWY_INLINE FirstOnes(int64_t count) {
    for (int64_t t = 0; t < kTile; ++t) ones[t] = t < count ? 1.0f : 0.0f;
  }
};

HWY_INLINE float middle_of(const PackedSide& side) { return 0.5f * static_cast<float>(side.levels()); }
// Minimums [n] become centres.
HWY_INLINE void to_centres(const PackedSide& side, const float* scales, int64_t n, float* minimums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto middle = hn::Set(d, middle_of(side));
  for (int64_t i = 0; i < n; i += lanes)
    hn::StoreU(hn::MulAdd(hn::LoadU(d, scales + i), middle, hn::LoadU(d, minimums + i)), d, minimums + i);
}
// The scales and centres of the channels that codes of a place have.
HWY_INLINE void channel_centres(const PackedSide& side, const uint8_t* block, int64_t place, float* scales,
                                float* centres) {
  channel_fits(side, block, place, scales, centres);
  to_centres(side, scales, side.head_dim, centres);
}
// Of a group of channels, those of `count` tokens, rounded up to kLanes.
HWY_INLINE void token_centres(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int g,
                              float* scales, float* centres) {
  token_fits(side, block, place, count, g, scales, centres);
  to_centres(side, scales, count, centres);
}

// Calls body(index, channel, count) for the pieces of a head whose channels share a token's scale (or none do).
template <typename Body>
HWY_INLINE void each_piece(const PackedSide& side, Body body) {
  const int64_t shared = side.folds() ? side.head_dim : side.group;
  int64_t index = 0;
  for (int64_t c = 0; c < side.head_dim; ++index) {
    const int64_t left = shared - c % shared, count = left < kLongPiece ? left : kLongPiece;
    body(index, c, count);
    c += count;
  }
}

// Bodies that work on sums: g++ 12 may leave them functions of their own, and keeps the sums in memory then.
#define KVPARETO_EXPANDED HWY_ATTR __attribute__((always_inline))

// Calls body(index) with compile-time indices. A loop that a pragma unrolls is unrolled too late: g++ 12 has put the
// arrays that it counts through into memory by then.
template <int kCount, typename Body>
HWY_INLINE void repeat(Body body) {
  [&]<int... kIndices>(std::integer_sequence<int, kIndices...>) KVPARETO_EXPANDED {
    (body(std::integral_constant<int, kIndices>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

// The same of kCount vectors; up to three numbers are written behind the last.
template <int kCount, typename Join>
HWY_INLINE void join_all(Join join, const VF (&all)[kCount], float* out) {
  repeat<(kCount + 3) / 4>([&](auto i) KVPARETO_EXPANDED {
    constexpr int kFirst = 4 * i, kLast = kCount - 1;
    constexpr int kSecond = kFirst < kLast ? kFirst + 1 : kLast, kThird = kSecond < kLast ? kSecond + 1 : kLast;
    constexpr int kFourth = kThird < kLast ? kThird + 1 : kLast;
    join_lanes(join, all[kFirst], all[kSecond], all[kThird], all[kFourth], out + kFirst);
  });
}

// Calls body(count, first) with a compile-time count for parts of a group as equal as can be, of kMost at most: a query
// left alone would wait for its own sums.
template <int kMost, typename Body>
HWY_INLINE void in_parts(int64_t group, Body body) {
  const int64_t parts = (group + kMost - 1) / kMost;
  for (int64_t part = 0, first = 0; part < parts; ++part) {
    const int64_t left = parts - part, count = (group - first + left - 1) / left;
    repeat<kMost>([&](auto i) HWY_ATTR {
      if (count == i + 1) body(std::integral_constant<int, i + 1>(), first);
    });
    first += count;
  }
}
// Queries that share each load of four keys, which sum by vectors, and of four vectors of a value: as many sums, and
// what they are multiplied with, as the registers hold.
constexpr int kMostOfRows = HWY_TARGET <= HWY_AVX3 ? 4 : 3;
// Those that are rounded together.
constexpr int kMostRounded = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

// --- how a lane's numbers are multiplied with its codes

constexpr float kMostInt16 = 32767;

struct ByPairs {
  static constexpr int kEach = 2;  // numbers a lane
  static constexpr bool kSignedCodes = false;
  static constexpr float kMost = kMostInt16;
  static constexpr int kLaneOfOnes = 0x00010001;
  static HWY_INLINE Sums add(Pairs x, Pairs codes, Sums sums) { return add_products(x, codes, sums); }
  // A vector of x to place i.
  static HWY_INLINE void store(VI x, int16_t* out, int64_t i) {
    const hn::Rebind<int16_t, DF> d16;
    hn::StoreU(hn::DemoteTo(d16, x), d16, out + i);
  }
};

// Codes of at most 4 bits are multiplied by fours with numbers of 8 bits, twice as many in an instruction: they are off
// by more than that themselves (docs/METHODS.md, "Products of codes").
constexpr int kMostOfFours = 15;
// So are those of 8 bits where each weight is at most this part of all that a query's weights add up to.
constexpr int kMostOfEvenFours = 255;
constexpr int kEvenBits = 2;
constexpr float kEvenShare = 1.0f / (1 << kEvenBits);
#if HWY_TARGET <= HWY_AVX3
// One side has a sign: queries, or codes where numbers are weights, of which none is below zero.
template <bool kWeights>
struct ByFours {
  static constexpr int kEach = 4;
  static constexpr bool kSignedCodes = kWeights;
  static constexpr float kMost = kWeights ? 255 : 127;
  static constexpr int kLaneOfOnes = 0x01010101;
  static HWY_INLINE Sums add(Pairs x, Pairs codes, Sums sums) {
    const auto total = reinterpret_cast<__m512i>(sums);
    return reinterpret_cast<Sums>(kWeights ? _mm512_dpbusd_epi32(total, x.raw, codes.raw)
                                           : _mm512_dpbusd_epi32(total, codes.raw, x.raw));
  }
  static HWY_INLINE void store(VI x, int16_t* out, int64_t i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i / 2), _mm512_cvtepi32_epi8(x.raw));
  }
  // Two vectors of int16 as one of bytes.
  static HWY_INLINE Pairs join(Pairs a, Pairs b) {
    const __m512i both = kWeights ? _mm512_packus_epi16(a.raw, b.raw) : _mm512_packs_epi16(a.raw, b.raw);
    return Pairs{_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), both)};
  }
};
#endif

// Calls body(kind) with how codes of a side are multiplied, with queries or with weights: by fours those up to kMost.
template <bool kWeights, int kMost = kMostOfFours, typename Body>
HWY_INLINE void with_kind([[maybe_unused]] const PackedSide& side, Body body) {
#if HWY_TARGET <= HWY_AVX3
  // Symmetric scales have signs (those of ggml's q4_0), and so have weights times them, like queries.
  if (side.levels() <= kMost && side.fit == Fit::kSymmetric) return body(ByFours<false>());
  if (side.levels() <= kMost) return body(ByFours<kWeights>());
#endif
  body(ByPairs());
}

// sums[i][v] = sum over p < n of lanes p * kRows + r of a[i] (at that times step_p + i * step_i) times vector v of the
// kRows that row p of b has.
template <typename Kind, int kOut, int kVectors, typename Rows>
HWY_INLINE void multiply_lanes(const int16_t* a, int64_t step_i, int64_t step_p, int64_t n, const Rows& b,
                               VI (&sums)[kOut][kVectors]) {
  using Cursor = typename Rows::template Cursor<Kind>;
  Sums totals[kOut][kVectors] = {};
  for (int64_t p = 0; p < n;) {
    Cursor row = b.template from<Kind>(p);
    for (const int64_t end = b.end(p, n); p < end; ++p) {
      Pairs in[Cursor::kRows][kVectors];
      row.next(in);
      repeat<Cursor::kRows>([&](auto r) KVPARETO_EXPANDED {
        repeat<kOut>([&](auto i) KVPARETO_EXPANDED {
          const Pairs factor = same_pairs(a + i * step_i);
          repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
            totals[i][v] =
                Rows::kCodes ? Kind::add(factor, in[r][v], totals[i][v]) : Kind::add(in[r][v], factor, totals[i][v]);
          });
        });
        a += step_p;
      });
    }
  }
  repeat<kOut>([&](auto i)
                   HWY_ATTR { repeat<kVectors>([&](auto v) HWY_ATTR { sums[i][v] = lanes_of(totals[i][v]); }); });
}

// Rows of pairs, or of fours, as they lie, `row` numbers apart.
struct PairRows {
  static constexpr bool kCodes = false;  // but numbers (or codes by pairs, which are multiplied like these)
  const int16_t* first;
  int64_t row;

  template <typename Kind>
  struct Cursor {
    static constexpr int kRows = 1;
    const int16_t* at;
    int64_t row;
    template <int kVectors>
    HWY_INLINE void next(Pairs (&in)[1][kVectors]) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) in[0][v] = load_pairs(at + 2 * v * static_cast<int64_t>(hn::Lanes(DI())));
      at += row;
    }
  };
  HWY_INLINE PairRows at(int64_t lane) const { return {first + 2 * lane, row}; }
  template <typename Kind>
  HWY_INLINE Cursor<Kind> from(int64_t p) const {
    return {first + p * row, row};
  }
  HWY_INLINE int64_t end(int64_t, int64_t n) const { return n; }
};

// The weighted sum of the values of `count` tokens of a block, part by part of those that share scales. Calls
// round(first, tokens, factors, centres) to round weights times factors, with sums of weights times centres,
// then add(first, tokens, channel, channels, scales, centres) to multiply them with codes. Scales and centres are
// space.
template <typename Round, typename Add>
HWY_INLINE void add_values(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, float* scales,
                           float* centres, Round round, Add add) {
  if (!side.folds()) {
    for (int64_t c = 0; c < side.head_dim; c += side.group) {
      token_centres(side, block, place, count, static_cast<int>(c / side.group), scales, centres);
      round(0, count, scales, centres);
      for (int64_t i = 0; i < side.group; i += kLongPiece)
        add(0, count, c + i, side.group - i < kLongPiece ? side.group - i : kLongPiece, kOnes.ones, kOnes.ones);
    }
    return;
  }
  for (int64_t t = 0; t < count;) {
    const int64_t tokens = span_tokens(side, place + t, count - t);
    const FirstOnes held(tokens);
    round(t, tokens, held.ones, held.ones);
    channel_centres(side, block, place + t, scales, centres);
    add(t, tokens, 0, side.head_dim, scales, centres);
    t += tokens;
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
