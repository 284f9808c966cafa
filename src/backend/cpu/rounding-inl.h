// Numbers rounded to the integers that codes are multiplied with, the rows of a group together; one instance a Highway
// target. Included by kernels.cc after products-inl.h. docs/METHODS.md, "Products of codes", states the method and its
// error.
//
// Sums across the lanes of a vector take longer than all that is rounded in it, so those of several rows are made at
// once.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// The largest |x|, x f32 [n].
HWY_INLINE float largest_of(const float* x, int64_t n) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF largest[4];  // one maximum would wait for the one before
  repeat<4>([&](auto v) KVPARETO_EXPANDED { largest[v] = hn::Zero(d); });
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    repeat<4>([&](auto v)
                  KVPARETO_EXPANDED { largest[v] = hn::Max(largest[v], hn::Abs(hn::LoadU(d, x + i + v * lanes))); });
  }
  for (; i < n; i += lanes) largest[0] = hn::Max(largest[0], hn::Abs(hn::LoadU(d, x + i)));
  const auto low = hn::Max(largest[0], largest[1]), high = hn::Max(largest[2], largest[3]);
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(low, high)));
}

// Largest and sum of |x times factors| of kRows rows f32 [n], n a multiple of kLanes.
template <int kRows>
HWY_INLINE void extents_of(const float* x, int64_t row, int64_t n, const float* factors, float* largest,
                           float* totals) {
  const DF d;
  VF most[kRows], total[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED { most[q] = total[q] = hn::Zero(d); });
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto factor = hn::LoadU(d, factors + i);
    repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
      const auto size = hn::Abs(hn::Mul(hn::LoadU(d, x + q * row + i), factor));
      most[q] = hn::Max(most[q], size);
      total[q] = hn::Add(total[q], size);
    });
  }
  join_all(Highest(), most, largest);
  join_all(Adding(), total, totals);
}

// Sums of x times centres, and of integers, lane by lane. Where nothing is multiplied with the sum of integers but the
// middle of all codes, it can be in the other already: the sum is less `middle` times these, and wholes are not
// written.
template <int kRows>
HWY_INLINE void join_sums(const VF (&sums)[kRows], const VI (&integers)[kRows], const Rounded& rounded) {
  VF wholes[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED { wholes[q] = hn::ConvertTo(DF(), integers[q]); });
  join_all(Adding(), sums, rounded.sums);
  join_all(Adding(), wholes, rounded.wholes);
  for (int q = 0; q < kRows; ++q) rounded.wholes[q] *= rounded.steps[q];
}
template <int kRows>
HWY_INLINE void join_sums(const VF (&sums)[kRows], const VI (&integers)[kRows], float middle, const Rounded& rounded) {
  VF rests[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
    const auto share = hn::Set(DF(), -middle * rounded.steps[q]);
    rests[q] = hn::MulAdd(hn::ConvertTo(DF(), integers[q]), share, sums[q]);
  });
  join_all(Adding(), rests, rounded.sums);
}

// Rows x f32 [n], n a multiple of kLanes, times factors in their steps, as Kind multiplies them; `out` has rows of as
// many int16. Middle: none, or as join_sums() wants it.
template <typename Kind, int kRows, typename... Middle>
HWY_INLINE void round_floats(const float* x, int64_t row, int64_t n, const float* factors, const float* centres,
                             int16_t* out, const Rounded& rounded, Middle... middle) {
  const DF d;
  VF sums[kRows], inverses[kRows];
  VI wholes[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
    const float step = rounded.steps[q];
    inverses[q] = hn::Set(d, step > 0 ? 1 / step : 0.0f);
    sums[q] = hn::Zero(d);
    wholes[q] = hn::Zero(DI());
  });
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto factor = hn::LoadU(d, factors + i), centre = hn::LoadU(d, centres + i);
    repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
      const auto given = hn::LoadU(d, x + q * row + i);
      const auto integers = Nearest(hn::Mul(given, factor), inverses[q]).integer();
      sums[q] = hn::MulAdd(given, centre, sums[q]);
      wholes[q] = hn::Add(wholes[q], integers);
      Kind::store(integers, out + q * row, i);
    });
  }
  join_sums(sums, wholes, middle..., rounded);
}

// --- fixed point: numbers in 15 bits and a sign, of a unit of their own. What many scales are multiplied with is
// rounded so once; a product of two takes one instruction for twice as many as of f32.

using DFixed = hn::ScalableTag<int16_t>;
constexpr float kMostFixed = 32767, kProductUnit = 32768;

HWY_INLINE float inverse_unit(float largest) { return largest > 0 ? kMostFixed / largest : 0.0f; }

// Two vectors of int32 as one of int16: written by halves, it could not be read back before both have left the core.
HWY_INLINE hn::Vec<DFixed> join_halves(VI a, [[maybe_unused]] VI b) {
#if HWY_TARGET == HWY_SCALAR
  return hn::DemoteTo(DFixed(), a);
#elif HWY_TARGET <= HWY_AVX3
  const __m512i both = _mm512_packs_epi32(a.raw, b.raw);
  return hn::Vec<DFixed>{_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), both)};
#else
  return hn::Vec<DFixed>{_mm256_permute4x64_epi64(_mm256_packs_epi32(a.raw, b.raw), 0xd8)};
#endif
}

// x f32 [n], n a multiple of kLanes, in units of 1 / inverse; zeros behind them, up to a multiple of kFixedMultiple.
HWY_INLINE void to_fixed(const float* x, int64_t n, float inverse, int16_t* out) {
  const DF d;
  const DFixed d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d)), step = static_cast<int64_t>(hn::Lanes(d16));
  const auto factor = hn::Set(d, inverse);
  const auto integers = [&](int64_t i) KVPARETO_EXPANDED { return Nearest(hn::LoadU(d, x + i), factor).integer(); };
  int64_t i = 0;
  for (; i + step <= n; i += step) hn::StoreU(join_halves(integers(i), integers(i + step - lanes)), d16, out + i);
  if (i < n) {
    hn::StoreU(join_halves(integers(i), hn::Zero(DI())), d16, out + i);
    i += step;
  }
  for (; i % kFixedMultiple != 0; i += step) hn::StoreU(hn::Zero(d16), d16, out + i);
}

#if HWY_TARGET <= HWY_AVX3
// The largest |x times factors| of kRows rows of fixed numbers, in units of both times kProductUnit.
template <int kRows>
HWY_INLINE void largest_products(const int16_t* x, int64_t row, int64_t n, const int16_t* factors, float* largest) {
  const DFixed d;
  hn::Vec<DFixed> most[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED { most[q] = hn::Zero(d); });
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto factor = hn::LoadU(d, factors + i);
    repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
      most[q] = hn::Max(most[q], hn::Abs(hn::MulFixedPoint15(hn::LoadU(d, x + q * row + i), factor)));
    });
  }
  VF wide[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
    const auto pairs = hn::BitCast(DI(), most[q]);
    wide[q] = hn::ConvertTo(DF(), hn::Max(hn::And(pairs, hn::Set(DI(), 0xffff)), hn::ShiftRight<16>(pairs)));
  });
  join_all(Highest(), wide, largest);
}

// `steps` of rows hold the largest products as above and become steps of numbers with Kind's bits: units [row] of the
// rows times `unit` are those of products. What products are multiplied with to become numbers, in 1 / kProductUnit, to
// `narrows`. kRows of each, a vector at most.
template <typename Kind, int kRows>
HWY_INLINE void find_steps(const float* units, float unit, float* steps, int16_t* narrows) {
  const DF d;
  const auto narrow =
      hn::Min(hn::Div(hn::Set(d, Kind::kMost * kProductUnit), hn::LoadU(d, steps)), hn::Set(d, kMostFixed));
  const auto whole = hn::ConvertTo(DI(), narrow);
  const hn::Rebind<int16_t, DF> d16;
  hn::StoreU(hn::DemoteTo(d16, whole), d16, narrows);
  const auto one = hn::Mul(hn::LoadU(d, units), hn::Set(d, unit * kProductUnit));
  hn::BlendedStore(hn::Div(one, hn::ConvertTo(d, whole)), hn::FirstN(d, kRows), d, steps);
}
#endif

// Rows x [n] (n a multiple of kLanes, factors zero behind them up to a multiple of kFixedMultiple), given as f32 and as
// fixed numbers, times fixed factors, as Kind multiplies them: in units of both times kProductUnit, or of bytes
// kProductUnit / narrows [row] times as large, which must keep them within Kind::kMost. Steps are given; `out` has rows
// of as many int16. Middle as in round_floats().
template <typename Kind, int kRows, typename... Middle>
HWY_INLINE void round_fixed(const float* x, const int16_t* fixed, int64_t row, int64_t n, const int16_t* factors,
                            const float* centres, [[maybe_unused]] const int16_t* narrows, int16_t* out,
                            const Rounded& rounded, Middle... middle) {
  const DF d;
  const DFixed d16;
  constexpr int64_t kEach = Kind::kEach;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d)), step = kEach * lanes;
  const Pairs ones = pairs_of(hn::Set(DI(), Kind::kLaneOfOnes));
  VF sums[kRows];
  Sums wholes[kRows] = {};
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED { sums[q] = hn::Zero(d); });
  for (int64_t i = 0; i < n; i += step) {
    for (int64_t j = i; j < i + step && j < n; j += lanes) {
      const auto centre = hn::LoadU(d, centres + j);
      repeat<kRows>([&](auto q)
                        KVPARETO_EXPANDED { sums[q] = hn::MulAdd(hn::LoadU(d, x + q * row + j), centre, sums[q]); });
    }
    repeat<kRows>([&](auto q) KVPARETO_EXPANDED {
      int16_t* at = out + q * row + i * 2 / kEach;
      const auto product = [&](int64_t j) KVPARETO_EXPANDED {
        return hn::MulFixedPoint15(hn::LoadU(d16, fixed + q * row + j), hn::LoadU(d16, factors + j));
      };
      if constexpr (kEach == 2) {
        for (int64_t j = i; j < i + step; j += static_cast<int64_t>(hn::Lanes(d16)))
          hn::StoreU(product(j), d16, out + q * row + j);
      } else {
        const auto narrow = hn::Set(d16, narrows[q]);
        hn::StoreU(
            Kind::join(hn::MulFixedPoint15(product(i), narrow), hn::MulFixedPoint15(product(i + step / 2), narrow)),
            d16, at);
      }
      wholes[q] = Kind::add(load_pairs(at), ones, wholes[q]);
    });
  }
  VI integers[kRows];
  repeat<kRows>([&](auto q) KVPARETO_EXPANDED { integers[q] = lanes_of(wholes[q]); });
  join_sums(sums, integers, middle..., rounded);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
