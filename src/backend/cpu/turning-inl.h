// Packed keys before RoPE, decoded with tokens in the lanes and turned by their place in the tile; one instance a
// Highway target. Included by kernels.cc after products-inl.h.
// A row of such a tile is one channel of all tokens, so that turning is four multiplications of whole vectors, and
// scores need no sum across lanes.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Tokens [first, first + count) of a tile of codes, as values [head_dim][kTile]. Scales and minimums belong to tokens
// of groups of channels, [group][kTile], or to channels.
template <bool kByToken>
HWY_INLINE void decode_across(const PackedSide& side, const int16_t* codes, int64_t first, int64_t count,
                              const float* scales, const float* minimums, const float* offset, float* out) {
  const DF d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto low = hn::Set(di, 0xffff);
  for (int64_t c = 0; c < side.head_dim; c += 2) {
    const int64_t at = kByToken ? c / side.group * kTile : c;
    const auto add = hn::Set(d, offset == nullptr ? 0.0f : offset[c]),
               add_odd = hn::Set(d, offset == nullptr ? 0.0f : offset[c + 1]);
    for (int64_t t = first; t < first + count; t += lanes) {
      const auto pairs = hn::LoadU(di, reinterpret_cast<const int32_t*>(codes) + c / 2 * kTile + t);
      const auto even = hn::ConvertTo(d, hn::And(pairs, low)), odd = hn::ConvertTo(d, hn::ShiftRight<16>(pairs));
      const auto scale = kByToken ? hn::LoadU(d, scales + at + t) : hn::Set(d, scales[at]);
      const auto minimum = kByToken ? hn::LoadU(d, minimums + at + t) : hn::Set(d, minimums[at]);
      const auto odd_scale = kByToken ? scale : hn::Set(d, scales[at + 1]);
      const auto odd_minimum = kByToken ? minimum : hn::Set(d, minimums[at + 1]);
      hn::StoreU(hn::MulAdd(even, scale, hn::Add(minimum, add)), d, out + c * kTile + t);
      hn::StoreU(hn::MulAdd(odd, odd_scale, hn::Add(odd_minimum, add_odd)), d, out + (c + 1) * kTile + t);
    }
  }
}

// hadamard() of every column of rows [n][kTile], `count` columns.
HWY_INLINE void hadamard_across(float* x, int64_t n, int64_t count) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t block = n & -n;
  for (int64_t half = 1; half < block; half *= 2) {
    for (int64_t pair = 0; pair < n / 2; ++pair) {
      float* first = x + (pair / half * 2 * half + pair % half) * kTile;
      float* second = first + half * kTile;
      for (int64_t t = 0; t < count; t += lanes) {
        const auto a = hn::LoadU(d, first + t), b = hn::LoadU(d, second + t);
        hn::StoreU(hn::Add(a, b), d, first + t);
        hn::StoreU(hn::Sub(a, b), d, second + t);
      }
    }
  }
  const auto scale = hn::Set(d, 1.0f / __builtin_sqrtf(static_cast<float>(block)));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t t = 0; t < count; t += lanes)
      hn::StoreU(hn::Mul(hn::LoadU(d, x + i * kTile + t), scale), d, x + i * kTile + t);
  }
}

// Keys of packed tokens [token, token + count), from behind the sinks, at the beginning of a tile: as values f32
// [head_dim][kTile], turned as if the first stood at position 0. `codes` holds a tile; scales and minimums one of each
// for every group and token, or every channel.
HWY_INLINE void turned_tile(const PackedSide& side, int64_t head, int64_t token, int64_t count, int16_t* codes,
                            float* scales, float* minimums, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const uint8_t* block = side.block(head, token);
  const int64_t place = side.place_of(token), half = side.head_dim / 2;
  const float* offset = side.offset_of(head);
  unpack_tile(side, block, place, count, codes);
  if (side.span == 1) {
    for (int g = 0; g < side.groups(); ++g)
      token_fits(side, block, place, count, g, scales + g * kTile, minimums + g * kTile);
    decode_across<true>(side, codes, 0, count, scales, minimums, offset, out);
  }
  for (int64_t t = 0; side.span != 1 && t < count;) {
    const int64_t tokens = span_tokens(side, place + t, count - t);
    channel_fits(side, block, place + t, scales, minimums);
    decode_across<false>(side, codes, t, tokens, scales, minimums, offset, out);
    t += tokens;
  }
  if (side.rotated) hadamard_across(out, side.head_dim, count);
  for (int64_t c = 0; c < half; ++c) {
    const float* cosines = side.turns_across + c * kTile;
    const float* sines = cosines + half * kTile;
    float* first = out + c * kTile;
    float* second = first + half * kTile;
    for (int64_t t = 0; t < count; t += lanes) {
      const auto a = hn::LoadU(d, first + t), b = hn::LoadU(d, second + t);
      const auto cosine = hn::LoadU(d, cosines + t), sine = hn::LoadU(d, sines + t);
      hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, first + t);
      hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, second + t);
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
