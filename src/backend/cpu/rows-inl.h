// Row operations, one instance a Highway target. Included by kernels.cc inside foreach_target.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;

// f32 to the upper half with round to nearest even; the library's own demotion truncates.
HWY_INLINE void store_bf16([[maybe_unused]] DF d, VF v, bf16* out) {
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> d16;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu))));
  hn::StoreU(hn::TruncateTo(d16, rounded), d16, &out->bits);
}

HWY_INLINE VF load_bf16(DF d, const bf16* in) {
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> d16;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, &in->bits))));
}

// Stores to a row of either type.
struct RowWriter {
  float* f32;
  bf16* b16;
  explicit HWY_INLINE RowWriter(const Tensor& row)
      : f32(row.type == DType::kF32 ? static_cast<float*>(row.data) : nullptr),
        b16(row.type == DType::kBf16 ? static_cast<bf16*>(row.data) : nullptr) {}
  HWY_INLINE void put(DF d, int64_t c, VF v) const {
    if (f32 != nullptr) {
      hn::StoreU(v, d, f32 + c);
    } else {
      store_bf16(d, v, b16 + c);
    }
  }
};

// x rounded to the nearest integer, ties to even; |x| < 2^22. NearestInt() looks for overflow besides, which takes four
// instructions more.
struct Nearest {
  using DI = hn::RebindToSigned<DF>;
  static constexpr float kShift = 12582912;  // 1.5 * 2^23: the unit is the last bit

  explicit HWY_INLINE Nearest(VF x) : shifted(hn::Add(x, hn::Set(DF(), kShift))) {}
  HWY_INLINE Nearest(VF x, VF factor) : shifted(hn::MulAdd(x, factor, hn::Set(DF(), kShift))) {}
  HWY_INLINE VF value() const { return hn::Sub(shifted, hn::Set(DF(), kShift)); }
  HWY_INLINE hn::Vec<DI> integer() const { return hn::Sub(bits(), hn::BitCast(DI(), hn::Set(DF(), kShift))); }
  // With the lower 16 bits of the integer.
  HWY_INLINE hn::Vec<DI> lower_half() const { return bits(); }
  // Times 2^23, as an exponent is written: the shift drops out.
  HWY_INLINE hn::Vec<DI> exponent() const { return hn::ShiftLeft<23>(bits()); }

 private:
  HWY_INLINE hn::Vec<DI> bits() const { return hn::BitCast(DI(), shifted); }
  VF shifted;
};

// 2^(n + rest) to 2e-7 of it, |rest| <= 1/2: n -125 to 127, or with AVX-512 any.
HWY_INLINE VF power_of_two([[maybe_unused]] DF d, const Nearest& n, VF rest) {
  auto sum = hn::Set(d, kHighestOfPower);
  for (const float c : kPowerOfTwo) sum = hn::MulAdd(sum, rest, hn::Set(d, c));
#if HWY_TARGET <= HWY_AVX3
  // One instruction scales by any exponent.
  return VF{_mm512_scalef_ps(sum.raw, n.value().raw)};
#else
  return hn::BitCast(d, hn::Add(hn::BitCast(hn::RebindToSigned<DF>(), sum), n.exponent()));
#endif
}

// 2^x of x <= 0; 0 where it is below 2^-125. A third of the work of the library's exp.
HWY_INLINE VF power_of_two(DF d, VF x) {
#if HWY_TARGET <= HWY_AVX3
  const Nearest n(x);
  return power_of_two(d, n, hn::Sub(x, n.value()));
#else
  const auto least = hn::Set(d, -125.0f), seen = hn::Max(x, least);
  const Nearest n(seen);
  return hn::IfThenElseZero(hn::Gt(x, least), power_of_two(d, n, hn::Sub(seen, n.value())));
#endif
}

// e^-x of |x| <= 87. Exact but for the last step: the first part of log(2) has few enough bits for its multiples.
HWY_INLINE VF inverse_exponential(DF d, VF x) {
  const auto log2e = hn::Set(d, kLog2E), large = hn::Set(d, 0.693359375f), small = hn::Set(d, -2.12194440e-4f);
  const Nearest n(hn::Mul(x, hn::Neg(log2e)));
  const auto rest = hn::MulAdd(n.value(), small, hn::MulAdd(n.value(), large, x));
  return power_of_two(d, n, hn::Mul(hn::Neg(rest), log2e));
}

void rms_norm(const float* x, const float* weight, float epsilon, int64_t n, const Tensor& out_row) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto squares = hn::Zero(d);
  for (int64_t c = 0; c < n; c += lanes) {
    const auto v = hn::LoadU(d, x + c);
    squares = hn::MulAdd(v, v, squares);
  }
  const float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  const auto inverse = hn::Set(d, 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon));
  const RowWriter out(out_row);
  for (int64_t c = 0; c < n; c += lanes) {
    out.put(d, c, hn::Mul(hn::Mul(hn::LoadU(d, x + c), inverse), hn::LoadU(d, weight + c)));
  }
}

void swiglu(const float* gate, const float* up, int64_t n, const Tensor& out_row) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  // Beyond 87 it is as good as at 87, and 1 / (1 + e^87) is a normal number still.
  const auto one = hn::Set(d, 1.0f), two = hn::Set(d, 2.0f), most = hn::Set(d, 87.0f), least = hn::Set(d, -87.0f);
  const RowWriter out(out_row);
  for (int64_t c = 0; c < n; c += lanes) {
    // In this order what is no number stays none.
    const auto g = hn::Max(least, hn::LoadU(d, gate + c));
    const auto below = hn::Add(one, inverse_exponential(d, hn::Min(most, g)));
    const auto near = hn::ApproximateReciprocal(below);
    const auto inverse = hn::Mul(near, hn::NegMulAdd(below, near, two));
    out.put(d, c, hn::Mul(hn::Mul(g, inverse), hn::LoadU(d, up + c)));
  }
}

void rope(float* x, const float* cosines, const float* sines, int64_t half) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < half; c += lanes) {
    const auto a = hn::LoadU(d, x + c), b = hn::LoadU(d, x + half + c);
    const auto cosine = hn::LoadU(d, cosines + c), sine = hn::LoadU(d, sines + c);
    hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, x + c);
    hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, x + half + c);
  }
}

// hadamard() in vectors: the same sums.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void hadamard_row(float* x, int64_t n) { hadamard(x, static_cast<int>(n)); }
#else
// Lanes i and i + kHalf become their sum and difference.
template <int kHalf>
HWY_INLINE VF butterflies(DF d, VF v) {
  VF other;
  if constexpr (kHalf == 1) other = hn::Shuffle2301(v);
  if constexpr (kHalf == 2) other = hn::Shuffle1032(v);
  if constexpr (kHalf == 4) other = hn::SwapAdjacentBlocks(v);
  if constexpr (kHalf == 8) other = hn::ConcatLowerUpper(d, v, v);
  const hn::RebindToSigned<DF> di;
  const auto second = hn::RebindMask(d, hn::TestBit(hn::Iota(di, 0), hn::Set(di, kHalf)));
  return hn::IfThenElse(second, hn::Sub(other, v), hn::Add(v, other));
}

HWY_INLINE void hadamard_row(float* x, int64_t n) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t block = n & -n;
  if (block < lanes) return hadamard(x, static_cast<int>(n));
  for (int64_t i = 0; i < n; i += lanes) {
    auto v = butterflies<2>(d, butterflies<1>(d, hn::LoadU(d, x + i)));
    v = butterflies<4>(d, v);
    if constexpr (hn::MaxLanes(DF()) > 8) v = butterflies<8>(d, v);
    hn::StoreU(v, d, x + i);
  }
  for (int64_t half = lanes; half < block; half *= 2) {
    for (int64_t pair = 0; pair < n / 2; pair += lanes) {
      float* first = x + pair / half * 2 * half + pair % half;
      const auto a = hn::LoadU(d, first), b = hn::LoadU(d, first + half);
      hn::StoreU(hn::Add(a, b), d, first);
      hn::StoreU(hn::Sub(a, b), d, first + half);
    }
  }
  const auto scale = hn::Set(d, 1.0f / __builtin_sqrtf(static_cast<float>(block)));
  for (int64_t i = 0; i < n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), scale), d, x + i);
}
#endif

void transform(float* x, int64_t n, bool rotate, const float* offset) {
  const DF d;
  if (rotate) hadamard_row(x, n);
  for (int64_t c = 0; offset != nullptr && c < n; c += static_cast<int64_t>(hn::Lanes(d)))
    hn::StoreU(hn::Sub(hn::LoadU(d, x + c), hn::LoadU(d, offset + c)), d, x + c);
}

void finish_row(const AttendJob& job, int64_t token, int64_t head, float* row) {
  const DF d;
  const int64_t n = job.head_dim, lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* offset = job.values.offset_of(head / job.group());
  for (int64_t c = 0; offset != nullptr && c < n; c += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, row + c), hn::LoadU(d, offset + c)), d, row + c);
  if (job.values.rotated) hadamard_row(row, n);
  const RowWriter out(job.out.slice(token, 1));
  for (int64_t c = 0; c < n; c += lanes) out.put(d, head * n + c, hn::LoadU(d, row + c));
}

void floats_to_bf16(const float* x, int64_t n, bf16* out) {
  const DF d;
  for (int64_t c = 0; c < n; c += static_cast<int64_t>(hn::Lanes(d))) store_bf16(d, hn::LoadU(d, x + c), out + c);
}

void bf16_to_floats(const bf16* x, int64_t n, float* out) {
  const DF d;
  for (int64_t c = 0; c < n; c += static_cast<int64_t>(hn::Lanes(d))) hn::StoreU(load_bf16(d, x + c), d, out + c);
}

// Up to kVectors inputs share each pass over a row.
template <int kVectors>
HWY_INLINE void dot_rows(const bf16* row, const float* x, int64_t columns, float* sums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF even[kVectors], odd[kVectors];
  for (int m = 0; m < kVectors; ++m) even[m] = odd[m] = hn::Zero(d);
  int64_t c = 0;
  for (; c + 2 * lanes <= columns; c += 2 * lanes) {
    const auto w0 = load_bf16(d, row + c), w1 = load_bf16(d, row + c + lanes);
    for (int m = 0; m < kVectors; ++m) {
      even[m] = hn::MulAdd(w0, hn::LoadU(d, x + m * columns + c), even[m]);
      odd[m] = hn::MulAdd(w1, hn::LoadU(d, x + m * columns + c + lanes), odd[m]);
    }
  }
  if (c < columns) {
    const auto w0 = load_bf16(d, row + c);
    for (int m = 0; m < kVectors; ++m) even[m] = hn::MulAdd(w0, hn::LoadU(d, x + m * columns + c), even[m]);
  }
  for (int m = 0; m < kVectors; ++m) sums[m] = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[m], odd[m])));
}

// kStreams rows that stand `stride` apart by one input: with prefetching, several streams side by side come closer to
// the memory's bandwidth than a single one (bench/results).
template <int kStreams>
HWY_INLINE void dot_streams(const bf16* rows, int64_t stride, const float* x, int64_t columns, float* sums) {
  constexpr int64_t kAhead = 1024;  // bf16: 2 KiB
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF even[kStreams], odd[kStreams];
  for (int s = 0; s < kStreams; ++s) even[s] = odd[s] = hn::Zero(d);
  int64_t c = 0;
  for (; c + 2 * lanes <= columns; c += 2 * lanes) {
    const auto x0 = hn::LoadU(d, x + c), x1 = hn::LoadU(d, x + c + lanes);
    for (int s = 0; s < kStreams; ++s) {
      const bf16* row = rows + s * stride + c;
      hwy::Prefetch(row + kAhead);
      even[s] = hn::MulAdd(load_bf16(d, row), x0, even[s]);
      odd[s] = hn::MulAdd(load_bf16(d, row + lanes), x1, odd[s]);
    }
  }
  if (c < columns) {
    const auto x0 = hn::LoadU(d, x + c);
    for (int s = 0; s < kStreams; ++s) even[s] = hn::MulAdd(load_bf16(d, rows + s * stride + c), x0, even[s]);
  }
  for (int s = 0; s < kStreams; ++s) sums[s] = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[s], odd[s])));
}

void gemv(const bf16* weight, const float* bias, int64_t columns, int64_t begin, int64_t end, const float* x,
          int64_t vectors, float* out, int64_t out_stride, bool accumulate) {
  constexpr int kMost = 4, kStreams = 4;
  if (vectors == 1) {
    const int64_t each = (end - begin) / kStreams;
    for (int64_t r = begin; r < begin + each; ++r) {
      float sums[kStreams];
      dot_streams<kStreams>(weight + r * columns, each * columns, x, columns, sums);
      for (int64_t s = 0; s < kStreams; ++s) {
        float& place = out[r + s * each];
        place = sums[s] + (bias != nullptr ? bias[r + s * each] : 0.0f) + (accumulate ? place : 0.0f);
      }
    }
    begin += kStreams * each;
  }
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t m = 0; m < vectors; m += kMost) {
      float sums[kMost];
      const int64_t count = vectors - m < kMost ? vectors - m : kMost;
      const float* inputs = x + m * columns;
      if (count == 1) dot_rows<1>(weight + r * columns, inputs, columns, sums);
      if (count == 2) dot_rows<2>(weight + r * columns, inputs, columns, sums);
      if (count == 3) dot_rows<3>(weight + r * columns, inputs, columns, sums);
      if (count == 4) dot_rows<4>(weight + r * columns, inputs, columns, sums);
      for (int64_t i = 0; i < count; ++i) {
        float& place = out[(m + i) * out_stride + r];
        place = sums[i] + (bias != nullptr ? bias[r] : 0.0f) + (accumulate ? place : 0.0f);
      }
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
