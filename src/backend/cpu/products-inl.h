// Products of queries with keys and of weights with values, from packed codes and from exact rows as they lie; one
// instance a Highway target. docs/METHODS.md, "Products of codes", states the method and its error. Included by
// kernels.cc after decoding-inl.h.
//
// A code is not decoded: sum(x (m + s code)) = s sum(x code) + m sum(x), with x rounded to int16 and the sum of its
// products with codes exact in int32.

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
HWY_INLINE VI add_products(Pairs a, Pairs b, VI sum) {
  return hn::Set(DI(), hn::GetLane(sum) + a.first * b.first + a.second * b.second);
}
#else
using DPairs = hn::Repartition<int16_t, DI>;
using Pairs = hn::Vec<DPairs>;
HWY_INLINE Pairs load_pairs(const int16_t* in) { return hn::LoadU(DPairs(), in); }
// One pair in every lane.
HWY_INLINE Pairs same_pairs(const int16_t* pair) {
  int32_t both;
  __builtin_memcpy(&both, pair, 4);
  return hn::BitCast(DPairs(), hn::Set(DI(), both));
}
HWY_INLINE VI add_products(Pairs a, Pairs b, VI sum) {
  // On x86 one instruction multiplies and adds neighbours, so there is no second sum.
  VI unused = hn::Zero(DI());
  return hn::ReorderWidenMulAccumulate(DI(), a, b, sum, unused);
}
#endif

// Numbers as int16: x is about step * q, and `rest` is what that leaves of their sum.
struct Rounded {
  float step, sum, rest;
};

// n a multiple of kRowMultiple.
HWY_INLINE Rounded round_to_int16(const float* x, int64_t n, int16_t* out) {
  const DF d;
  const hn::Rebind<int16_t, DF> d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d), sum = hn::Zero(d);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    largest = hn::Max(largest, hn::Abs(v));
    sum = hn::Add(sum, v);
  }
  constexpr float kMost = 32767;
  const float most = hn::GetLane(hn::MaxOfLanes(d, largest)), step = most / kMost;
  const auto inverse = hn::Set(d, most > 0 ? kMost / most : 0.0f);
  auto whole = hn::Zero(DI());
  for (int64_t i = 0; i < n; i += lanes) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse));
    whole = hn::Add(whole, q);
    hn::StoreU(hn::DemoteTo(d16, q), d16, out + i);
  }
  const float total = hn::GetLane(hn::SumOfLanes(d, sum));
  return {step, total, total - step * static_cast<float>(hn::GetLane(hn::SumOfLanes(DI(), whole)))};
}

// --- vectors of codes that are multiplied at once, by the number of x that share them: sums fill the registers

template <int kCount>
constexpr int kVectorsOf = HWY_TARGET == HWY_SCALAR ? 1 : (HWY_TARGET <= HWY_AVX3 || kCount > 3 ? 2 : 4);

// sums[i][v] = sum over p < n of the products of pair p of x[i] with vector v of row p of `codes`.
template <int kCount, int kVectors>
HWY_INLINE void multiply_codes(const int16_t* x, int64_t x_stride, const int16_t* codes, int64_t row, int64_t n,
                               VI (&sums)[kCount][kVectors]) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DI()));
  for (int i = 0; i < kCount; ++i) {
    for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::Zero(DI());
  }
  for (int64_t p = 0; p < n; ++p, codes += row) {
    Pairs in[kVectors];
    for (int v = 0; v < kVectors; ++v) in[v] = load_pairs(codes + 2 * v * lanes);
    for (int i = 0; i < kCount; ++i) {
      const Pairs factor = same_pairs(x + i * x_stride + 2 * p);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = add_products(factor, in[v], sums[i][v]);
    }
  }
}

// One piece of codes: what its sums of products become. Arrays run along the lanes.
struct Affine {
  const float* scales;
  const float* minimums;
  float middle;  // of the codes: rounding x costs least about it
};

// out[i][l] (+)= scale[l] sum(x[i] code[l]) + minimum[l] of_minimums[i], for `width` lanes (a multiple of the vectors).
template <int kCount>
HWY_INLINE void add_codes(const int16_t* x, int64_t x_stride, const Rounded* rounded, int64_t rounded_stride,
                          const int16_t* codes, int64_t row, int64_t pairs, const Affine& affine, int64_t width,
                          bool accumulate, float* out, int64_t out_stride) {
  constexpr int kVectors = kVectorsOf<kCount>;
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t l = 0; l < width; l += kVectors * lanes) {
    VI sums[kCount][kVectors];
    multiply_codes<kCount, kVectors>(x, x_stride, codes + 2 * l, row, pairs, sums);
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Rounded& r = rounded[i * rounded_stride];
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

// Calls body(count, first) with a compile-time count until the whole group is done: up to four share each load, and
// none is left alone with its own sums if that can be helped.
template <typename Body>
HWY_INLINE void by_four(int64_t group, Body body) {
  for (int64_t g = 0; g < group;) {
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

// --- exact rows of bf16: even and odd channels of a vector of pairs widen in one instruction each

HWY_INLINE void widen_pairs(const bf16* in, VF& even, VF& odd) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(in));
  even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

// Each two vectors of x as its even, then its odd elements.
HWY_INLINE void split_pairs(const float* x, int64_t n, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < n; c += 2 * lanes) {
    VF even, odd;
    hn::LoadInterleaved2(d, x + c, even, odd);
    hn::StoreU(even, d, out + c);
    hn::StoreU(odd, d, out + c + lanes);
  }
}

// Sums of the lanes of four vectors.
HWY_INLINE void sum_four(VF a, VF b, VF c, VF e, float* out) {
#if HWY_TARGET == HWY_SCALAR
  const VF all[4] = {a, b, c, e};
  for (int i = 0; i < 4; ++i) out[i] = hn::GetLane(all[i]);
#else
  const DF d;
  const hn::Repartition<double, DF> dw;
  const auto ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const auto ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto low = hn::InterleaveLower(dw, hn::BitCast(dw, ab), hn::BitCast(dw, ce));
  const auto high = hn::InterleaveUpper(dw, hn::BitCast(dw, ab), hn::BitCast(dw, ce));
  const auto sums = hn::Add(hn::BitCast(d, low), hn::BitCast(d, high));  // of every block of four lanes
  const hn::Half<DF> dh;
  const auto halves = hn::Add(hn::LowerHalf(dh, sums), hn::UpperHalf(dh, sums));
#if HWY_TARGET <= HWY_AVX3
  const hn::Half<hn::Half<DF> > dq;
  hn::StoreU(hn::Add(hn::LowerHalf(dq, halves), hn::UpperHalf(dq, halves)), dq, out);
#else
  hn::StoreU(halves, dh, out);
#endif
#endif
}

// scores[q][k] = dot(queries[q], rows[k]) for k < count; queries [kCount][n] as split_pairs() leaves them.
template <int kCount>
HWY_INLINE void score_rows(const float* queries, int64_t n, const bf16* const* rows, int64_t count, float* scores) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < count; k += 4) {
    const bf16* row[4];
    for (int i = 0; i < 4; ++i) row[i] = rows[k + i < count ? k + i : k];
    VF sums[kCount][4];
    for (int q = 0; q < kCount; ++q) {
      for (int i = 0; i < 4; ++i) sums[q][i] = hn::Zero(d);
    }
    for (int64_t c = 0; c < n; c += 2 * lanes) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        VF even, odd;
        widen_pairs(row[i] + c, even, odd);
        for (int q = 0; q < kCount; ++q) {
          sums[q][i] = hn::MulAdd(even, hn::LoadU(d, queries + q * n + c), sums[q][i]);
          sums[q][i] = hn::MulAdd(odd, hn::LoadU(d, queries + q * n + c + lanes), sums[q][i]);
        }
      }
    }
    float four[4];
#pragma GCC unroll 4
    for (int q = 0; q < kCount; ++q) {
      sum_four(sums[q][0], sums[q][1], sums[q][2], sums[q][3], four);
      for (int i = 0; i < 4 && k + i < count; ++i) scores[q * kTile + k + i] = four[i];
    }
  }
}

// sums[q][c] += sum over k < count of weights[q][k] * rows[k][c].
template <int kCount>
HWY_INLINE void add_rows(const float* weights, const bf16* const* rows, int64_t count, int64_t n, float* sums) {
  constexpr int kPairs = HWY_TARGET == HWY_SCALAR ? 1 : (kCount > 3 ? 1 : 2);
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto add = [&](auto number, int64_t c) HWY_ATTR {
    constexpr int pairs = decltype(number)::value;
    VF even[kCount][pairs], odd[kCount][pairs];
    for (int q = 0; q < kCount; ++q) {
      for (int v = 0; v < pairs; ++v) hn::LoadInterleaved2(d, sums + q * n + c + 2 * v * lanes, even[q][v], odd[q][v]);
    }
    for (int64_t k = 0; k < count; ++k) {
      VF low[pairs], high[pairs];
      for (int v = 0; v < pairs; ++v) widen_pairs(rows[k] + c + 2 * v * lanes, low[v], high[v]);
      for (int q = 0; q < kCount; ++q) {
        const auto weight = hn::Set(d, weights[q * kTile + k]);
        for (int v = 0; v < pairs; ++v) {
          even[q][v] = hn::MulAdd(weight, low[v], even[q][v]);
          odd[q][v] = hn::MulAdd(weight, high[v], odd[q][v]);
        }
      }
    }
    for (int q = 0; q < kCount; ++q) {
      for (int v = 0; v < pairs; ++v) hn::StoreInterleaved2(even[q][v], odd[q][v], d, sums + q * n + c + 2 * v * lanes);
    }
  };
  int64_t c = 0;
  for (; c + 2 * kPairs * lanes <= n; c += 2 * kPairs * lanes) add(std::integral_constant<int, kPairs>(), c);
  for (; c < n; c += 2 * lanes) add(std::integral_constant<int, 1>(), c);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
