// What the products of one token by a head stay below, from the high bits of its codes alone: HighBits of
// linear_kernels.h. See linear_streams-inl.h.

// The high bits of codes whose planes lie apart, as stream_panels() reads them.
template <WeightCodec kCodec>
class HighCodes {
  static constexpr WeightCodecInfo kInfo = info_of(kCodec);
  static constexpr HighBits kHigh = HighBits::of(kCodec);
  static constexpr int kBits = kInfo.high_bits, kSubs = kInfo.sub > 0 ? kInfo.unit / kInfo.sub : 1;
  static constexpr WeightCodecInfo kAlone = {kCodec, "", kBits, 0, 1, 0, 0, 0, 0};

 public:
  static constexpr WeightCodec kOf = kCodec;
  template <int kStep>
  using KindOfStep = Kind<kBits, kStep, Vectors::takes_offsets(kAlone)>;

  // As a codec of one plane, whose sums begin with what the zero of all bits takes away, as much less as it is smaller.
  struct Block : PackedBlock<kCodec> {
    KVPARETO_INLINE typename Vectors::Codes at(int step, int part) const {
      const auto codes =
          Vectors::load_codes(this->planes.high + step % kBits * kPlaneBytes + part * (kPlaneBytes / Vectors::kParts));
      return Vectors::both(Vectors::right(codes, step / kBits * kBits), Vectors::all_bytes((1 << kBits) - 1));
    }
    KVPARETO_INLINE auto start(int32_t of_token) const {
      constexpr int kDigits = 12;
      constexpr auto kShare = static_cast<int32_t>(kHigh.zero / kInfo.zero * (1 << kDigits));
      return Vectors::all_wholes((of_token * kShare + (1 << (kDigits - 1))) >> kDigits);
    }
  };

  KVPARETO_INLINE static void unpack_scales_of(const UnitWalk<kCodec>& walk, float* scales, float* offsets) {
    tell<UnitWalk<kCodec>::kHeader>(walk.header());
    unpack_scales<kCodec>(walk.header(), scales, offsets);
    for (int i = 0; i < kSubs * kPanelRows; ++i) offsets[i] = scales[i] * kHigh.zero;
  }
  KVPARETO_INLINE static Block block(const UnitWalk<kCodec>& walk, int64_t b) {
    const BlockPlanes planes = walk.block(b);
    tell<UnitWalk<kCodec>::kBlock>(planes.high);
    return {{planes}};
  }
  static void begin(const PanelJob& /*job*/, int64_t /*panel*/, int64_t /*rows*/, float* sums) {
    std::fill_n(sums, kPanelRows, 0.0f);
  }
  static void end(const PanelJob& job, int64_t panel, int64_t rows, const float* sums) {
    constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
    typename Vectors::Float variances[kParts];
    for (auto& variance : variances) variance = Vectors::all(0);
    UnitWalk<kCodec> walk(job.panels + panel, 0);
    const int64_t unit = job.format().unit();
    for (int64_t c = 0, sub = 0; c < job.columns(); c += unit, walk.next_unit(unit / kPanelColumns)) {
      float scales[kSubs * kPanelRows], offsets[kSubs * kPanelRows];
      unpack_scales<kCodec>(walk.header(), scales, offsets);
      for (int s = 0; s < kSubs; ++s, ++sub) {
        for (int p = 0; p < kParts; ++p) {
          const auto scale = Vectors::load(scales + s * kPanelRows + p * kLanes);
          variances[p] = Vectors::fma(Vectors::multiply(scale, scale), Vectors::all(job.squares[sub]), variances[p]);
        }
      }
    }
    float bounds[kPanelRows], means[kPanelRows];
    for (int p = 0; p < kParts; ++p) {
      const auto deviation = Vectors::root(Vectors::multiply(variances[p], Vectors::all(kHigh.variance)));
      const auto sum = Vectors::multiply(Vectors::load(sums + p * kLanes), Vectors::all(kHigh.size));
      Vectors::store(Vectors::fma(deviation, Vectors::all(HighBits::kDeviations), sum), bounds + p * kLanes);
      Vectors::store(sum, means + p * kLanes);
    }
    job.out[2 * panel] = *std::max_element(bounds, bounds + rows);
    job.out[2 * panel + 1] = *std::max_element(means, means + rows);
  }

 private:
  template <int64_t kBytes>
  KVPARETO_INLINE static void tell(const uint8_t* place) {
#pragma GCC unroll 8
    for (int64_t line = 0; line < kBytes; line += 64) __builtin_prefetch(place + kStreamAhead + line);
  }
};

template <WeightCodec kCodec>
void bound_panels_of(const PanelJob& job, int64_t first, int64_t last) {
  with_step<kCodec>(job.format(), [&](auto step) { stream_panels<HighCodes<kCodec>, step>(job, first, last); });
}

void bound_panels(const PanelJob& job, int64_t first, int64_t last) {
  if (job.format().codec == WeightCodec::kInt8Apart) return bound_panels_of<WeightCodec::kInt8Apart>(job, first, last);
  bound_panels_of<WeightCodec::kQ6KApart>(job, first, last);
}
