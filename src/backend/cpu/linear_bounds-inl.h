// What the products of one token by a head stay below, from the high bits of its codes alone: HighBits of
// linear_kernels.h. See linear_streams-inl.h.

// The high bits of codes whose planes lie apart, as stream_panels() reads them.
class HighCodes {
 public:
  static constexpr WeightCodec kOf = WeightCodec::kInt8Apart;
  static constexpr WeightCodecInfo kInfo = {kOf, "", info_of(kOf).high_bits, 0, 1, 0, 0, 0, 0};
  template <int kStep>
  using KindOfStep = Kind<kInfo.low_bits, kStep, Vectors::takes_offsets(kInfo)>;

  // As a codec of one plane, whose sums begin with what the zero of all bits takes away, as much less as it is smaller.
  struct Block : PackedBlock<kOf> {
    KVPARETO_INLINE typename Vectors::Codes at(int step, int part) const {
      constexpr int kBits = kInfo.low_bits;
      const auto codes = Vectors::load_codes(this->planes.high + step % kBits * kPlaneBytes +
                                             part * (kPlaneBytes / Vectors::kParts));
      return Vectors::both(Vectors::right(codes, step / kBits * kBits), Vectors::all_bytes((1 << kBits) - 1));
    }
    KVPARETO_INLINE auto start(int32_t of_token) const {
      constexpr int kDigits = 12;
      constexpr auto kShare = static_cast<int32_t>(HighBits::kZero / info_of(kOf).zero * (1 << kDigits));
      return Vectors::all_wholes((of_token * kShare + (1 << (kDigits - 1))) >> kDigits);
    }
  };

  KVPARETO_INLINE static void unpack_scales_of(const UnitWalk<kOf>& walk, float* scales, float* offsets) {
    tell<UnitWalk<kOf>::kHeader>(walk.header());
    unpack_scales<kOf>(walk.header(), scales, offsets);
    for (int r = 0; r < kPanelRows; ++r) offsets[r] = scales[r] * HighBits::kZero;
  }
  KVPARETO_INLINE static Block block(const UnitWalk<kOf>& walk, int64_t b) {
    const BlockPlanes planes = walk.block(b);
    tell<UnitWalk<kOf>::kBlock>(planes.high);
    return {{planes}};
  }
  static void begin(const PanelJob& /*job*/, int64_t /*panel*/, int64_t /*rows*/, float* sums) {
    std::fill_n(sums, kPanelRows, 0.0f);
  }
  static void end(const PanelJob& job, int64_t panel, int64_t rows, const float* sums) {
    constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
    typename Vectors::Float variances[kParts];
    for (auto& variance : variances) variance = Vectors::all(0);
    UnitWalk<kOf> walk(job.panels + panel, 0);
    for (int64_t u = 0; u < job.columns() / job.format().group; ++u, walk.next_unit(job.format().group / kPanelColumns)) {
      float scales[kPanelRows];
      Vectors::widen_halves(walk.header(), scales);
      for (int p = 0; p < kParts; ++p) {
        const auto scale = Vectors::load(scales + p * kLanes);
        variances[p] = Vectors::fma(Vectors::multiply(scale, scale), Vectors::all(job.squares[u]), variances[p]);
      }
    }
    float bounds[kPanelRows];
    for (int p = 0; p < kParts; ++p) {
      const auto deviation = Vectors::root(Vectors::multiply(variances[p], Vectors::all(HighBits::kVariance)));
      const auto sum = Vectors::multiply(Vectors::load(sums + p * kLanes), Vectors::all(HighBits::kSize));
      Vectors::store(Vectors::fma(deviation, Vectors::all(HighBits::kDeviations), sum), bounds + p * kLanes);
    }
    job.out[panel] = *std::max_element(bounds, bounds + rows);
  }

 private:
  template <int64_t kBytes>
  KVPARETO_INLINE static void tell(const uint8_t* place) {
#pragma GCC unroll 8
    for (int64_t line = 0; line < kBytes; line += 64) __builtin_prefetch(place + kStreamAhead + line);
  }
};

void bound_panels(const PanelJob& job, int64_t first, int64_t last) {
  with_step<HighCodes::kOf>(job.format(), [&](auto step) { stream_panels<HighCodes, step>(job, first, last); });
}
