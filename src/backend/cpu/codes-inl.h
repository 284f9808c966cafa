// Writing packed codes, and reading their scales, one instance a Highway target; quant/codec.h and packed_side.h are
// the specification. Included by kernels.cc inside foreach_target, after rows-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// --- codes

// The four codes of one lane of a chunk.
HWY_INLINE void put_lane(Codec codec, uint8_t* chunk, int lane, const uint8_t* four) {
  uint32_t codes;
  __builtin_memcpy(&codes, four, 4);
  const auto put = [&](int word, int bit, uint32_t mask) {
    uint32_t bits;
    __builtin_memcpy(&bits, chunk + 4 * word, 4);
    bits = (bits & ~(mask << bit)) | (codes & mask) << bit;
    __builtin_memcpy(chunk + 4 * word, &bits, 4);
  };
  if (codec == Codec::kInt8) return put(lane, 0, 0xffffffff);
  if (codec == Codec::kInt4) return put(lane % 8, lane / 8 * 4, 0x0f0f0f0f);
  put(lane % 4, lane / 4 * 2, 0x03030303);
  if (codec == Codec::kInt2) return;
  uint64_t tops;
  __builtin_memcpy(&tops, chunk + 16, 8);
  // The product brings the third bit of code i to bit 24 + i.
  const uint64_t thirds = (codes >> 2 & 0x01010101u) * 0x01020408u >> 24 & 15u;
  tops = (tops & ~(uint64_t{15} << (4 * lane))) | thirds << (4 * lane);
  __builtin_memcpy(chunk + 16, &tops, 8);
}

// The codes that come `which` in all lanes of a chunk.
HWY_INLINE void put_all_lanes(Codec codec, uint8_t* chunk, int which, const uint8_t* codes) {
  uint8_t* out = chunk + which;
  if (codec == Codec::kInt8) {
    for (int i = 0; i < kLanes; ++i) out[4 * i] = codes[i];
  } else if (codec == Codec::kInt4) {
    for (int i = 0; i < 8; ++i) out[4 * i] = static_cast<uint8_t>(codes[i] | codes[i + 8] << 4);
  } else {
    for (int i = 0; i < 4; ++i) {
      out[4 * i] = static_cast<uint8_t>((codes[i] & 3) | (codes[i + 4] & 3) << 2 | (codes[i + 8] & 3) << 4 |
                                        (codes[i + 12] & 3) << 6);
    }
    if (codec == Codec::kInt2) return;
    uint64_t tops;
    __builtin_memcpy(&tops, chunk + 16, 8);
    tops &= ~(uint64_t{0x1111111111111111} << which);
    for (int i = 0; i < kLanes; ++i) tops |= static_cast<uint64_t>(codes[i] >> 2) << (4 * i + which);
    __builtin_memcpy(chunk + 16, &tops, 8);
  }
}

// Channels [c, c + n) of the token at `place` of its block, n a multiple of kLanes.
HWY_INLINE void put_codes(const PackedSide& side, uint8_t* block, int64_t place, int c, int n, const uint8_t* codes) {
  const size_t bytes = chunk_bytes(side.codec);
  uint8_t* chunk = block + static_cast<size_t>(side.code_place(place, c).chunk) * bytes;
  if (side.lanes == Lanes::kTokens) {
    for (int i = 0; i < n; i += kFour, chunk += bytes)
      put_lane(side.codec, chunk, static_cast<int>(place % kLanes), codes + i);
  } else {
    for (int i = 0; i < n; i += kLanes, chunk += bytes)
      put_all_lanes(side.codec, chunk, static_cast<int>(place % kFour), codes + i);
  }
}

// --- scales and minimums

// In hardware where the target has F16C.
HWY_INLINE VF load_halves([[maybe_unused]] DF d, const f16* in) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, to_float(*in));
#else
  const hn::Rebind<hwy::float16_t, DF> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(in)));
#endif
}

// clang does not grant F16C to a function without vectors.
HWY_INLINE float half_to_float(f16 x) {
#if HWY_TARGET == HWY_SCALAR || defined(__clang__)
  return to_float(x);
#else
  return _cvtsh_ss(x.bits);
#endif
}

HWY_INLINE const f16* scales_of(const PackedSide& side, const uint8_t* block, int64_t place, int g) {
  if (side.span == 0) return &side.whole->scale;
  return reinterpret_cast<const f16*>(block + side.scales_offset) + side.fit_index(place, g);
}
HWY_INLINE const f16* minimums_of(const PackedSide& side, const uint8_t* block, int64_t place, int g) {
  if (side.span == 0) return &side.whole->minimum;
  return reinterpret_cast<const f16*>(block + side.minimums_offset) + side.fit_index(place, g);
}

// Of `count` tokens from `place` of a block on, those that share scales.
HWY_INLINE int64_t span_tokens(const PackedSide& side, int64_t place, int64_t count) {
  const int64_t left = side.span == 0 ? count : side.span - (place & (side.span - 1));
  return left < count ? left : count;
}

// Scale and minimum of a group of the channels of a token.
struct ScaleMinimum {
  float scale, minimum;
  HWY_INLINE ScaleMinimum(const PackedSide& side, const uint8_t* block, int64_t place, int g)
      : scale(half_to_float(*scales_of(side, block, place, g))),
        minimum(side.fit == Fit::kSymmetric ? symmetric_minimum(scale, side.levels())
                                            : half_to_float(*minimums_of(side, block, place, g))) {}
};

// Of tokens that share theirs, from a multiple of kLanes on: see token_fits().
HWY_INLINE void shared_fits(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int g,
                            float* scales, float* minimums) {
  const DF d;
  const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
  for (int64_t t = 0; t < padded;) {
    const ScaleMinimum shared(side, block, place + t, g);
    const int64_t end = t + span_tokens(side, place + t, padded - t);
    for (; t < end; t += static_cast<int64_t>(hn::Lanes(d))) {
      const auto held = hn::FirstN(d, static_cast<size_t>(count > t ? count - t : 0));
      hn::StoreU(hn::IfThenElseZero(held, hn::Set(d, shared.scale)), d, scales + t);
      hn::StoreU(hn::IfThenElseZero(held, hn::Set(d, shared.minimum)), d, minimums + t);
    }
  }
}

// Scales and minimums of one group of `count` tokens (a block's, from `place` on) that are not folded; rounded up to a
// multiple of kLanes, zero behind the last token.
HWY_INLINE void token_fits(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int g,
                           float* scales, float* minimums) {
  if (side.span != 1) return shared_fits(side, block, place, count, g, scales, minimums);
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const f16* scale = scales_of(side, block, place, g);
  const f16* minimum = minimums_of(side, block, place, g);
  const auto implied = hn::Set(d, symmetric_minimum(1, side.levels()));
  for (int64_t t = 0; t < (count + kLanes - 1) / kLanes * kLanes; t += lanes) {
    const auto held = hn::FirstN(d, static_cast<size_t>(count > t ? count - t : 0));
    const auto factor = hn::IfThenElseZero(held, load_halves(d, scale + t));
    hn::StoreU(factor, d, scales + t);
    const auto least =
        side.fit == Fit::kSymmetric ? hn::Mul(factor, implied) : hn::IfThenElseZero(held, load_halves(d, minimum + t));
    hn::StoreU(least, d, minimums + t);
  }
}

// Scales and minimums of every channel [head_dim] where groups reach over tokens: of the span that holds `place`.
HWY_INLINE void channel_fits(const PackedSide& side, const uint8_t* block, int64_t place, float* scales,
                             float* minimums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const bool symmetric = side.fit == Fit::kSymmetric;
  const auto implied = hn::Set(d, symmetric_minimum(1, side.levels()));
  const f16* scale = scales_of(side, block, place, 0);
  const f16* minimum = minimums_of(side, block, place, 0);
  if (side.group == 1) {
    for (int64_t c = 0; c < side.head_dim; c += lanes) {
      const auto factor = load_halves(d, scale + c);
      hn::StoreU(factor, d, scales + c);
      hn::StoreU(symmetric ? hn::Mul(factor, implied) : load_halves(d, minimum + c), d, minimums + c);
    }
    return;
  }
  for (int64_t c = 0; c < side.head_dim; c += lanes) {
    const int64_t g = side.span == 0 ? 0 : c / side.group;
    const auto factor = hn::Set(d, half_to_float(scale[g]));
    hn::StoreU(factor, d, scales + c);
    hn::StoreU(symmetric ? hn::Mul(factor, implied) : hn::Set(d, half_to_float(minimum[g])), d, minimums + c);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
