// Packed keys before RoPE, decoded with tokens in the lanes and turned by their place in the tile; one instance a
// Highway target. Included by kernels.cc after products-inl.h.
//
// Turning mixes channels whose scales differ, so products of codes do not do. Where scales belong to channels, codes
// become integers of one unit for both channels of a pair and stay so: twice as many stand in a vector. Others are
// turned as floats. A row of such a tile is one channel (or two) of all tokens, so that turning is four
// multiplications of whole vectors, and scores need no sum across lanes.

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
  const int64_t place = token % side.block_tokens, half = side.head_dim / 2;
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

// --- the same as integers

// Whether turned_codes() can have them: where scales belong to channels. Rotated keys would lose three bits in their
// sums, and those whose scales belong to tokens two: a unit must span all tokens, and the offset beside them.
HWY_INLINE bool turns_codes(const PackedSide& side) {
  return HWY_TARGET != HWY_SCALAR && side.span != 1 && !side.rotated;
}

// A turned value is at most this many units of its pair of channels, and the products of a query with one key fit an
// int32: of 2^31 / 16384, what rounding adds is left.
constexpr float kMostTurned = 16383, kMostOfQuery = 130000;

#if HWY_TARGET != HWY_SCALAR
using DUnsigned = hn::RebindToUnsigned<DWide>;

HWY_INLINE VF inverse_or_zero(VF x) {
  const DF d;
  return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), x));
}
HWY_INLINE void store_scales(VF x, uint16_t* out) {
  hn::StoreU(hn::DemoteTo(hn::Rebind<uint16_t, DF>(), Nearest(x).integer()), hn::Rebind<uint16_t, DF>(), out);
}
HWY_INLINE void store_fixed(VF x, int16_t* out) {
  hn::StoreU(hn::DemoteTo(hn::Rebind<int16_t, DF>(), Nearest(x).integer()), hn::Rebind<int16_t, DF>(), out);
}
// The same two channels in all lanes.
HWY_INLINE Wide both_channels(const void* channels) {
  int32_t both;
  __builtin_memcpy(&both, channels, 4);
  return hn::BitCast(DWide(), hn::Set(hn::Repartition<int32_t, DWide>(), both));
}
// Codes at the top of their 16 bits times scales in 2^-16, cut off.
HWY_INLINE Wide times_scale(Wide high, hn::Vec<DUnsigned> scale) {
  return hn::BitCast(DWide(), hn::MulHigh(hn::BitCast(DUnsigned(), high), scale));
}

// Of two vectors of channels c and half + c that are this large at most: their pairs' units.
HWY_INLINE VF units_of(VF a, VF b) {
  const DF d;
  return hn::Mul(hn::Sqrt(hn::MulAdd(a, a, hn::Mul(b, b))), hn::Set(d, 1 / kMostTurned));
}

// Values of codes in units, of tokens that share scales.
struct ChannelValues {
  HWY_ALIGN uint16_t scales[kLargestHead];
  HWY_ALIGN int16_t minimums[kLargestHead];

  // Units f32 [head_dim / 2] are the largest of all spans of a tile.
  static HWY_INLINE void widen_units(const PackedSide& side, const float* scales, const float* minimums,
                                     const float* offset, bool first, float* units) {
    const DF d;
    const int64_t half = side.head_dim / 2;
    const auto levels = hn::Set(d, static_cast<float>(side.levels()));
    const auto largest = [&](int64_t c) HWY_ATTR {
      auto low = hn::LoadU(d, minimums + c);
      if (offset != nullptr) low = hn::Add(low, hn::LoadU(d, offset + c));
      return hn::Max(hn::Abs(low), hn::Abs(hn::MulAdd(levels, hn::LoadU(d, scales + c), low)));
    };
    for (int64_t c = 0; c < half; c += static_cast<int64_t>(hn::Lanes(d))) {
      const auto unit = units_of(largest(c), largest(half + c));
      hn::StoreU(first ? unit : hn::Max(unit, hn::LoadU(d, units + c)), d, units + c);
    }
  }
  HWY_INLINE ChannelValues(const PackedSide& side, const float* from_scales, const float* from_minimums,
                           const float* offset, const float* units) {
    const DF d;
    const int64_t half = side.head_dim / 2;
    const auto top = hn::Set(d, static_cast<float>(1 << bits_of(side.codec)));
    for (int64_t pair = 0; pair < half; pair += static_cast<int64_t>(hn::Lanes(d))) {
      const auto inverse = inverse_or_zero(hn::LoadU(d, units + pair));
      for (const int64_t c : {pair, half + pair}) {
        auto low = hn::LoadU(d, from_minimums + c);
        if (offset != nullptr) low = hn::Add(low, hn::LoadU(d, offset + c));
        store_scales(hn::Mul(hn::Mul(hn::LoadU(d, from_scales + c), top), inverse), scales + c);
        // A half makes up for what is cut off.
        store_fixed(hn::MulAdd(low, inverse, hn::Set(d, 0.5f)), minimums + c);
      }
    }
  }
  HWY_INLINE auto of_channels(int64_t c) const {
    const auto scale = hn::BitCast(DUnsigned(), both_channels(scales + c));
    const auto low = both_channels(minimums + c);
    return [scale, low](Wide high) HWY_ATTR { return hn::Add(low, times_scale(high, scale)); };
  }
};

// Tokens [first, first + count) of a tile at `place` of a block: out as in turned_codes().
template <Codec kCodec>
HWY_INLINE void turn_tokens(const PackedSide& side, const uint8_t* block, int64_t place, int64_t first, int64_t count,
                            const ChannelValues& values, int16_t* out) {
  const DWide d;
  constexpr int kShift = 16 - bits_of(kCodec);
  const int64_t half = side.head_dim / 2, bytes = static_cast<int64_t>(chunk_bytes(kCodec));
  const uint8_t* chunks = block + side.code_place(place + first, 0).chunk * bytes;
  const int64_t ahead = kBlocksAhead * static_cast<int64_t>(side.block_bytes);
  for (int64_t c = 0; c < half; c += 2, chunks += bytes) {
    const auto value_a = values.of_channels(c), value_b = values.of_channels(half + c);
    const int16_t* cosines = side.turns_fixed + c * kTile;
    const int16_t* sines = cosines + half * kTile;
    int16_t* to_a = out + c * kTile;
    int16_t* to_b = to_a + half * kTile;
    const uint8_t* chunk = chunks;
    for (int64_t t = first; t < first + count; t += kLanes, chunk += half * bytes) {
      hwy::Prefetch(chunk + ahead);
      hwy::Prefetch(chunk + half / 2 * bytes + ahead);
      Wide a[kWides], b[kWides];
      unpack_wide<kCodec>(chunk, a);
      unpack_wide<kCodec>(chunk + half / 2 * bytes, b);
#pragma GCC unroll 2
      for (int i = 0; i < kWides; ++i) {
        const int64_t at = 2 * t + i * static_cast<int64_t>(hn::Lanes(d));
        const auto x = value_a(hn::ShiftLeft<kShift>(a[i])), y = value_b(hn::ShiftLeft<kShift>(b[i]));
        const auto cosine = hn::LoadU(d, cosines + at), sine = hn::LoadU(d, sines + at);
        hn::StoreU(hn::Sub(hn::MulFixedPoint15(x, cosine), hn::MulFixedPoint15(y, sine)), d, to_a + at);
        hn::StoreU(hn::Add(hn::MulFixedPoint15(x, sine), hn::MulFixedPoint15(y, cosine)), d, to_b + at);
      }
    }
  }
}
#endif

// As turned_tile(), but int16 [head_dim / 2][kTile][2] times units f32 [head_dim]. Scales and minimums hold
// [2][head_dim].
HWY_INLINE void turned_codes([[maybe_unused]] const PackedSide& side, [[maybe_unused]] int64_t head,
                             [[maybe_unused]] int64_t token, [[maybe_unused]] int64_t count,
                             [[maybe_unused]] float* scales, [[maybe_unused]] float* minimums,
                             [[maybe_unused]] float* units, [[maybe_unused]] int16_t* out) {
#if HWY_TARGET != HWY_SCALAR
  const uint8_t* block = side.block(head, token);
  const int64_t place = token % side.block_tokens, d = side.head_dim;
  const float* offset = side.offset_of(head);
  prefetch_fits(side, block + kBlocksAhead * side.block_bytes);
  const auto each_span = [&](auto body) HWY_ATTR {
    for (int64_t t = 0, span = 0; t < count; ++span) {
      const int64_t tokens = span_tokens(side, place + t, count - t);
      body(t, tokens, scales + span * d, minimums + span * d);
      t += tokens;
    }
  };
  each_span([&](int64_t t, int64_t, float* of_span, float* lows) HWY_ATTR {
    channel_fits(side, block, place + t, of_span, lows);
    ChannelValues::widen_units(side, of_span, lows, offset, t == 0, units);
  });
  each_span([&](int64_t t, int64_t tokens, const float* of_span, const float* lows) HWY_ATTR {
    const ChannelValues values(side, of_span, lows, offset, units);
    with_codec(side.codec,
               [&](auto codec) HWY_ATTR { turn_tokens<codec>(side, block, place, t, tokens, values, out); });
  });
  // Cosines had no magnitude, and their one was not quite one.
  const DF df;
  const auto magnitude = hn::Set(df, side.turns[0] * (32768.0f / kFixedOne));
  for (int64_t c = 0; c < d / 2; c += static_cast<int64_t>(hn::Lanes(df))) {
    const auto unit = hn::Mul(hn::LoadU(df, units + c), magnitude);
    hn::StoreU(unit, df, units + c);
    hn::StoreU(unit, df, units + d / 2 + c);
  }
#endif
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
