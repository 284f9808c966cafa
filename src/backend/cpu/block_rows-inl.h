// Many queries' rows, which stand in the vector lanes: rounded, and multiplied with numbers or codes that enter as
// broadcasts; one instance a Highway target. Included by kernels.cc after exact_rows-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// c[i * stride + r] (+)= sum over j < n of a[i * step_i + j * step_j] * b[j * rows + r], for kOut values of i and
// kVectors of r.
template <int kOut, int kVectors>
HWY_INLINE void multiply_part(const float* a, int64_t step_i, int64_t step_j, int64_t n, const float* b, int64_t rows,
                              float* c, int64_t stride, bool accumulate) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sums[kOut][kVectors];
  for (int i = 0; i < kOut; ++i) {
    for (int v = 0; v < kVectors; ++v) sums[i][v] = accumulate ? hn::LoadU(d, c + i * stride + v * lanes) : hn::Zero(d);
  }
  for (int64_t j = 0; j < n; ++j) {
    VF in[kVectors];
    for (int v = 0; v < kVectors; ++v) in[v] = hn::LoadU(d, b + j * rows + v * lanes);
    for (int i = 0; i < kOut; ++i) {
      const auto factor = hn::Set(d, a[i * step_i + j * step_j]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(factor, in[v], sums[i][v]);
    }
  }
  for (int i = 0; i < kOut; ++i) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[i][v], d, c + i * stride + v * lanes);
  }
}

// The same for `out` values of i (a multiple of 8) and all rows (a multiple of kRowMultiple).
HWY_INLINE void multiply(const float* a, int64_t step_i, int64_t step_j, int64_t n, const float* b, int64_t out,
                         float* c, int64_t rows, bool accumulate) {
  // Sums fill the register file: 24 of 32 vector registers, or 12 of 16.
  constexpr int kOut = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t i = 0; i < out; i += kOut) {
    const float* from = a + i * step_i;
    float* to = c + i * rows;
    int64_t r = 0;
    for (; r + 3 * lanes <= rows; r += 3 * lanes) {
      multiply_part<kOut, 3>(from, step_i, step_j, n, b + r, rows, to + r, rows, accumulate);
    }
    for (; r < rows; r += lanes) multiply_part<kOut, 1>(from, step_i, step_j, n, b + r, rows, to + r, rows, accumulate);
  }
}

// The codes of a tile as Kind multiplies them.
template <typename Kind>
HWY_INLINE void unpack_for(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int16_t* tile) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (Kind::kEach == kFour) return unpack_tile_fours<Kind::kSignedCodes>(side, block, place, count, tile);
#endif
  unpack_tile(side, block, place, count, tile);
}

// Above log2(x), x >= 0, by .09 at most, or -100: the exponent, and the mantissa as if between powers it were a line.
HWY_INLINE VF log_above(DF d, VF x) {
  const auto bits = hn::ConvertTo(d, hn::BitCast(DI(), x));
  return hn::Max(hn::MulAdd(bits, hn::Set(d, 0x1p-23f), hn::Set(d, -126.91f)), hn::Set(d, -100.0f));
}

// Below log2(x), x > 0, by .09 at most: the same line.
HWY_INLINE VF log_below(DF d, VF x) {
  return hn::MulAdd(hn::ConvertTo(d, hn::BitCast(DI(), x)), hn::Set(d, 0x1p-23f), hn::Set(d, -127.0f));
}

// largest[r] = the largest of |x[j][r] factors[j]|, j < n.
HWY_INLINE void largest_of_rows(const float* x, int64_t n, int64_t rows, const float* factors, float* largest) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    auto most = hn::Zero(d);
    for (int64_t j = 0; j < n; ++j)
      most = hn::Max(most, hn::Abs(hn::Mul(hn::LoadU(d, x + j * rows + r), hn::Set(d, factors[j]))));
    hn::StoreU(most, d, largest + r);
  }
}

// The same, or `share` of what they add up to if that is more.
HWY_INLINE void bound_of_rows(const float* x, int64_t n, int64_t rows, const float* factors, float share,
                              float* largest) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    auto most = hn::Zero(d), total = hn::Zero(d);
    for (int64_t j = 0; j < n; ++j) {
      const auto size = hn::Abs(hn::Mul(hn::LoadU(d, x + j * rows + r), hn::Set(d, factors[j])));
      most = hn::Max(most, size);
      total = hn::Add(total, size);
    }
    hn::StoreU(hn::Max(most, hn::Mul(total, hn::Set(d, share))), d, largest + r);
  }
}

// x f32 [n][rows], one number a lane, times factors [n], of which none is above `largest` [rows], as Kind multiplies
// them: int16 [n / 2][rows][2] or bytes [n / 4][rows][4]; sums with centres [n]. Rounded steps may be `largest`.
template <typename Kind>
HWY_INLINE void round_rows(const float* x, int64_t n, int64_t rows, const float* factors, const float* centres,
                           const float* largest, int16_t* out, const Rounded& rounded) {
  const DF d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Pairs ones = pairs_of(hn::Set(di, Kind::kLaneOfOnes));
  for (int64_t r = 0; r < rows; r += lanes) {
    const auto most = hn::LoadU(d, largest + r);
    const auto step = hn::Mul(most, hn::Set(d, 1 / Kind::kMost));
    const auto inverse = hn::IfThenElseZero(hn::Gt(most, hn::Zero(d)), hn::Div(hn::Set(d, Kind::kMost), most));
    // Even and odd numbers apart: an addition takes several cycles.
    VF sum[2] = {hn::Zero(d), hn::Zero(d)};
    Sums whole = {};
    const auto number = [&](int64_t j, auto odd) KVPARETO_EXPANDED {
      const auto given = hn::LoadU(d, x + j * rows + r);
      sum[odd] = hn::MulAdd(given, hn::Set(d, centres[j]), sum[odd]);
      return Nearest(hn::Mul(given, hn::Set(d, factors[j])), inverse).lower_half();
    };
    constexpr std::integral_constant<int, 0> kEven;
    constexpr std::integral_constant<int, 1> kOdd;
    for (int64_t j = 0; j < n; j += Kind::kEach) {
      const auto first = number(j, kEven), second = number(j + 1, kOdd);
      auto lane = hn::Or(hn::And(first, hn::Set(di, 0xffff)), hn::ShiftLeft<16>(second));
      if constexpr (Kind::kEach == 4) {
        const auto third = hn::ShiftLeft<16>(number(j + 2, kEven)), fourth = hn::ShiftLeft<24>(number(j + 3, kOdd));
        lane = hn::OrAnd(hn::And(first, hn::Set(di, 0xff)), hn::ShiftLeft<8>(second), hn::Set(di, 0xff00));
        lane = hn::Or(hn::OrAnd(lane, third, hn::Set(di, 0xff0000)), fourth);
      }
      hn::StoreU(lane, di, reinterpret_cast<int32_t*>(out) + j / Kind::kEach * rows + r);
      whole = Kind::add(pairs_of(lane), ones, whole);
    }
    hn::StoreU(step, d, rounded.steps + r);
    hn::StoreU(hn::Add(sum[0], sum[1]), d, rounded.sums + r);
    hn::StoreU(hn::Mul(step, hn::ConvertTo(d, lanes_of(whole))), d, rounded.wholes + r);
  }
}

#if HWY_TARGET <= HWY_AVX3
// Numbers of 16 bits as two bytes, 256 h + l, to be multiplied with codes of 8 bits: by h alone where that will do.
struct ByHalves : ByFours<false> {
  static constexpr float kMost = 127 * 256;
};

// As round_rows(), to bytes [n / 4][rows][4] of h and of l; sums are those of h.
HWY_INLINE void round_in_halves(const float* x, int64_t n, int64_t rows, const float* factors, const float* centres,
                                const float* largest, int16_t* high, int16_t* low, const Rounded& of_high,
                                const Rounded& of_low) {
  const DF d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Pairs ones = pairs_of(hn::Set(di, ByHalves::kLaneOfOnes));
  const auto byte = [&](int i) HWY_ATTR { return hn::Set(di, static_cast<int32_t>(0xffu << (8 * i))); };
  for (int64_t r = 0; r < rows; r += lanes) {
    const auto most = hn::LoadU(d, largest + r);
    const auto step = hn::Mul(most, hn::Set(d, 1 / ByHalves::kMost));
    const auto inverse = hn::IfThenElseZero(hn::Gt(most, hn::Zero(d)), hn::Div(hn::Set(d, ByHalves::kMost), most));
    auto sum = hn::Zero(d);
    Sums whole_high = {}, whole_low = {};
    // 256 h + l + 128: bytes h and l + 128.
    const auto number = [&](int64_t j) KVPARETO_EXPANDED {
      const auto given = hn::LoadU(d, x + j * rows + r);
      sum = hn::MulAdd(given, hn::Set(d, centres[j]), sum);
      return hn::Add(Nearest(hn::Mul(given, hn::Set(d, factors[j])), inverse).lower_half(), hn::Set(di, 128));
    };
    for (int64_t j = 0; j < n; j += kFour) {
      const auto a = number(j), b = number(j + 1), c = number(j + 2), e = number(j + 3);
      const auto h = hn::Or(hn::OrAnd(hn::And(hn::ShiftRight<8>(a), byte(0)), b, byte(1)),
                            hn::OrAnd(hn::And(hn::ShiftLeft<8>(c), byte(2)), hn::ShiftLeft<16>(e), byte(3)));
      const auto l = hn::Or(hn::OrAnd(hn::And(a, byte(0)), hn::ShiftLeft<8>(b), byte(1)),
                            hn::OrAnd(hn::ShiftLeft<24>(e), hn::ShiftLeft<16>(c), byte(2)));
      const auto signed_l = hn::Xor(l, hn::Set(di, static_cast<int32_t>(0x80808080u)));
      hn::StoreU(h, di, reinterpret_cast<int32_t*>(high) + j / kFour * rows + r);
      hn::StoreU(signed_l, di, reinterpret_cast<int32_t*>(low) + j / kFour * rows + r);
      whole_high = ByHalves::add(pairs_of(h), ones, whole_high);
      whole_low = ByHalves::add(pairs_of(signed_l), ones, whole_low);
    }
    const auto high_step = hn::Mul(step, hn::Set(d, 256.0f));
    hn::StoreU(high_step, d, of_high.steps + r);
    hn::StoreU(sum, d, of_high.sums + r);
    hn::StoreU(hn::Mul(high_step, hn::ConvertTo(d, lanes_of(whole_high))), d, of_high.wholes + r);
    hn::StoreU(step, d, of_low.steps + r);
    hn::StoreU(hn::Zero(d), d, of_low.sums + r);
    hn::StoreU(hn::Mul(step, hn::ConvertTo(d, lanes_of(whole_low))), d, of_low.wholes + r);
  }
}
#endif

// What becomes of products of rows from `at` on, whose codes have scales and centres along i: scale[i] sum(x[r]
// (code[i] - middle)) + centre[i] sum[r].
struct ScaledRows {
  VF step, middle, sum;
  HWY_INLINE ScaledRows(const Affine& affine, const Rounded& rounded, int64_t at) {
    const DF d;
    step = hn::LoadU(d, rounded.steps + at);
    sum = hn::LoadU(d, rounded.sums + at);
    middle = hn::Mul(hn::LoadU(d, rounded.wholes + at), hn::Set(d, -affine.middle));
  }
  HWY_INLINE VF added(const Affine& affine, int64_t i, VF whole, VF before) const {
    const DF d;
    const auto total = hn::MulAdd(hn::Set(d, affine.centres[i]), sum, before);
    return hn::MulAdd(hn::MulAdd(whole, step, middle), hn::Set(d, affine.scales[i]), total);
  }
};
// The same where these are all one: sum(x[r] (code[i] - middle)) + sum[r].
struct Unscaled {
  float middle;
  HWY_INLINE Unscaled from(int64_t) const { return *this; }
};
struct UnscaledRows {
  VF step, rest;
  HWY_INLINE UnscaledRows(const Unscaled& fit, const Rounded& rounded, int64_t at) {
    const DF d;
    step = hn::LoadU(d, rounded.steps + at);
    rest = hn::NegMulAdd(hn::LoadU(d, rounded.wholes + at), hn::Set(d, fit.middle), hn::LoadU(d, rounded.sums + at));
  }
  HWY_INLINE VF added(const Unscaled&, int64_t, VF whole, VF before) const {
    return hn::MulAdd(whole, step, hn::Add(before, rest));
  }
};
template <typename Fit>
using RowsOf = std::conditional_t<std::is_same_v<Fit, Unscaled>, UnscaledRows, ScaledRows>;

// Vectors of rows that share each code.
constexpr int kRowVectors = HWY_TARGET <= HWY_AVX3 ? 3 : 2;

// Codes broadcast, x in the lanes: c[i][r] (+)= as above, for kOut codes of each of `steps` lanes and kVectors of rows.
// Fit: Affine or Unscaled. Arrays of `rounded` run along the lanes, those of `fit` along i.
template <typename Kind, int kOut, int kVectors, typename Fit>
HWY_INLINE void add_products_part(const int16_t* codes, int64_t step_p, int64_t steps, const Fit& fit, const int16_t* x,
                                  const Rounded& rounded, int64_t r, int64_t rows, bool accumulate, float* c) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto held = hn::FirstN(d, accumulate ? hn::Lanes(d) : 0);
  VI sums[kOut][kVectors];
  multiply_lanes<Kind>(codes, 2, step_p, steps, PairRows{x + 2 * r, 2 * rows}, sums);
#pragma GCC unroll 3
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = r + v * lanes;
    const RowsOf<Fit> of_rows(fit, rounded, at);
#pragma GCC unroll 8
    for (int i = 0; i < kOut; ++i) {
      float* place = c + i * rows + at;
      const auto before = hn::MaskedLoad(held, d, place);
      hn::StoreU(of_rows.added(fit, i, hn::ConvertTo(d, sums[i][v]), before), d, place);
    }
  }
}

struct RowRange {
  int64_t begin, end;
};
// The same for `out` codes, rounded up to kOut, and some of the rows (a multiple of kRowMultiple).
template <typename Kind, typename Fit>
HWY_INLINE void add_all_products(const int16_t* codes, int64_t step_p, int64_t steps, const Fit& fit, const int16_t* x,
                                 const Rounded& rounded, int64_t rows, RowRange range, int64_t out, bool accumulate,
                                 float* c) {
  constexpr int kOut = HWY_TARGET <= HWY_AVX3 ? 8 : 4, kVectors = kRowVectors;
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t i = 0; i < out; i += kOut) {
    const Fit part = fit.from(i);
    const int16_t* from = codes + 2 * i;
    int64_t r = range.begin;
    for (; r + kVectors * lanes <= range.end; r += kVectors * lanes)
      add_products_part<Kind, kOut, kVectors>(from, step_p, steps, part, x, rounded, r, rows, accumulate, c + i * rows);
    for (; r < range.end; r += lanes)
      add_products_part<Kind, kOut, 1>(from, step_p, steps, part, x, rounded, r, rows, accumulate, c + i * rows);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
