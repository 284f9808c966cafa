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

// --- the same as integers, where scales belong to channels

// Whether turned_codes() can have them. Rotated keys would lose three bits in their sums.
HWY_INLINE bool turns_codes(const PackedSide& side) {
  return HWY_TARGET != HWY_SCALAR && side.span != 1 && !side.rotated;
}

// A turned value is at most this many units of its pair of channels, and the products of a query with one key fit an
// int32: of 2^31 / 16384, what rounding adds is left.
constexpr float kMostTurned = 16383, kMostOfQuery = 130000;

// Both channels of a pair are this large at most: units f32 [head_dim / 2], of all spans of a tile if `more`.
HWY_INLINE void find_units(const PackedSide& side, const float* scales, const float* minimums, const float* offset,
                           bool more, float* units) {
  const DF d;
  const int64_t half = side.head_dim / 2;
  const auto levels = hn::Set(d, static_cast<float>(side.levels()));
  for (int64_t c = 0; c < half; c += static_cast<int64_t>(hn::Lanes(d))) {
    const auto largest = [&](int64_t at) HWY_ATTR {
      auto low = hn::LoadU(d, minimums + at);
      if (offset != nullptr) low = hn::Add(low, hn::LoadU(d, offset + at));
      return hn::Max(hn::Abs(low), hn::Abs(hn::MulAdd(levels, hn::LoadU(d, scales + at), low)));
    };
    const auto a = largest(c), b = largest(half + c);
    const auto unit = hn::Mul(hn::Sqrt(hn::MulAdd(a, a, hn::Mul(b, b))), hn::Set(d, 1 / kMostTurned));
    hn::StoreU(more ? hn::Max(unit, hn::LoadU(d, units + c)) : unit, d, units + c);
  }
}

#if HWY_TARGET != HWY_SCALAR
// Scales (for codes at the top of 16 bits, in 2^-16) and minimums in units.
struct FixedFits {
  HWY_ALIGN uint16_t scales[kLargestHead];
  HWY_ALIGN int16_t minimums[kLargestHead];

  HWY_INLINE void round(const PackedSide& side, const float* from_scales, const float* from_minimums,
                        const float* offset, const float* units) {
    const DF d;
    const int64_t half = side.head_dim / 2;
    const auto top = hn::Set(d, static_cast<float>(1 << bits_of(side.codec)));
    for (int64_t c = 0; c < side.head_dim; c += static_cast<int64_t>(hn::Lanes(d))) {
      const auto unit = hn::LoadU(d, units + c % half);
      const auto inverse = hn::IfThenElseZero(hn::Gt(unit, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), unit));
      auto low = hn::LoadU(d, from_minimums + c);
      if (offset != nullptr) low = hn::Add(low, hn::LoadU(d, offset + c));
      const auto scale = hn::Mul(hn::Mul(hn::LoadU(d, from_scales + c), top), inverse);
      // Products with scales are cut off: a half more makes up for it.
      const auto minimum = hn::MulAdd(low, inverse, hn::Set(d, 0.5f));
      hn::StoreU(hn::DemoteTo(hn::Rebind<uint16_t, DF>(), hn::NearestInt(scale)), hn::Rebind<uint16_t, DF>(),
                 scales + c);
      hn::StoreU(hn::DemoteTo(hn::Rebind<int16_t, DF>(), hn::NearestInt(minimum)), hn::Rebind<int16_t, DF>(),
                 minimums + c);
    }
  }
};

// Tokens [first, first + count) of a tile at `place` of a block, which share scales: out as in turned_codes().
template <Codec kCodec>
HWY_INLINE void turn_span(const PackedSide& side, const uint8_t* block, int64_t place, int64_t first, int64_t count,
                          const FixedFits& fits, int16_t* out) {
  const DCodes d;
  const hn::RebindToUnsigned<DCodes> du;
  const hn::Repartition<int32_t, DCodes> dw;
  constexpr int kShift = 16 - bits_of(kCodec);
  const int64_t half = side.head_dim / 2, bytes = static_cast<int64_t>(chunk_bytes(kCodec));
  const auto two = [&](const void* channels) HWY_ATTR {
    int32_t both;
    __builtin_memcpy(&both, channels, 4);
    return hn::BitCast(d, hn::Set(dw, both));
  };
  const uint8_t* chunks = block + side.code_place(place + first, 0).chunk * bytes;
  for (int64_t c = 0; c < half; c += 2, chunks += bytes) {
    const auto scale_a = hn::BitCast(du, two(fits.scales + c)), scale_b = hn::BitCast(du, two(fits.scales + half + c));
    const auto low_a = two(fits.minimums + c), low_b = two(fits.minimums + half + c);
    const auto value = [&](Codes codes, auto scale, Codes low) HWY_ATTR {
      const auto high = hn::BitCast(du, hn::ShiftLeft<kShift>(codes));
      return hn::Add(low, hn::BitCast(d, hn::MulHigh(high, scale)));
    };
    const int16_t* cosines = side.turns_fixed + c * kTile;
    const int16_t* sines = cosines + half * kTile;
    int16_t* to_a = out + c * kTile;
    int16_t* to_b = to_a + half * kTile;
    const uint8_t* chunk = chunks;
    for (int64_t t = first; t < first + count; t += kLanes, chunk += half * bytes) {
      Codes a[2], b[2];
      unpack_halves<kCodec>(chunk, a[0], a[1]);
      unpack_halves<kCodec>(chunk + half / 2 * bytes, b[0], b[1]);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const int64_t at = 2 * t + i * kLanes;
        const auto x = value(a[i], scale_a, low_a), y = value(b[i], scale_b, low_b);
        const auto cosine = hn::LoadU(d, cosines + at), sine = hn::LoadU(d, sines + at);
        hn::StoreU(hn::Sub(hn::MulFixedPoint15(x, cosine), hn::MulFixedPoint15(y, sine)), d, to_a + at);
        hn::StoreU(hn::Add(hn::MulFixedPoint15(x, sine), hn::MulFixedPoint15(y, cosine)), d, to_b + at);
      }
    }
  }
}
#endif

// As turned_tile(), but int16 [head_dim / 2][kTile][2] times units f32 [head_dim / 2] of the channels' pairs. Scales
// and minimums hold [2][head_dim].
HWY_INLINE void turned_codes([[maybe_unused]] const PackedSide& side, [[maybe_unused]] int64_t head,
                             [[maybe_unused]] int64_t token, [[maybe_unused]] int64_t count,
                             [[maybe_unused]] float* scales, [[maybe_unused]] float* minimums,
                             [[maybe_unused]] float* units, [[maybe_unused]] int16_t* out) {
#if HWY_TARGET != HWY_SCALAR
  const uint8_t* block = side.block(head, token);
  const int64_t place = token % side.block_tokens, d = side.head_dim;
  const float* offset = side.offset_of(head);
  prefetch_next(side, block, place);
  const auto each_span = [&](auto body) HWY_ATTR {
    for (int64_t t = 0, span = 0; t < count; ++span) {
      const int64_t tokens = span_tokens(side, place + t, count - t);
      body(t, tokens, scales + span * d, minimums + span * d);
      t += tokens;
    }
  };
  each_span([&](int64_t t, int64_t, float* some_scales, float* some_minimums) HWY_ATTR {
    channel_fits(side, block, place + t, some_scales, some_minimums);
    find_units(side, some_scales, some_minimums, offset, t > 0, units);
  });
  each_span([&](int64_t t, int64_t tokens, const float* some_scales, const float* some_minimums) HWY_ATTR {
    FixedFits fits;
    fits.round(side, some_scales, some_minimums, offset, units);
    with_codec(side.codec, [&](auto codec) HWY_ATTR { turn_span<codec>(side, block, place, t, tokens, fits, out); });
  });
  // What turned_codes() leaves is in units of RoPE's magnitude, and of the cosines' one.
  const DF df;
  const auto whole = hn::Set(df, side.turns[0] * (32768.0f / kFixedOne));
  for (int64_t c = 0; c < d / 2; c += static_cast<int64_t>(hn::Lanes(df)))
    hn::StoreU(hn::Mul(hn::LoadU(df, units + c), whole), df, units + c);
#endif
}

// x f32 [head_dim][rows], one query a lane, turned back by cosines and sines [2][head_dim / 2] and times the units of
// their pairs, as pairs int16 [head_dim / 2][rows][2] in steps [rows]. `turned` holds as much as x.
HWY_INLINE void round_turned(const float* x, int64_t half, int64_t rows, const float* turn, const float* units,
                             float* turned, int16_t* out, float* steps) {
  const DF d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float cosines[kLargestHead / 2], sines[kLargestHead / 2];
  for (int64_t c = 0; c < half; c += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, turn + c), hn::LoadU(d, units + c)), d, cosines + c);
    hn::StoreU(hn::Mul(hn::LoadU(d, turn + half + c), hn::LoadU(d, units + c)), d, sines + c);
  }
  const auto low = hn::Set(di, 0xffff);
  for (int64_t r = 0; r < rows; r += lanes) {
    auto largest = hn::Zero(d), total = hn::Zero(d), other = hn::Zero(d);
    for (int64_t c = 0; c < half; ++c) {
      const auto a = hn::LoadU(d, x + c * rows + r), b = hn::LoadU(d, x + (half + c) * rows + r);
      const auto cosine = hn::Set(d, cosines[c]), sine = hn::Set(d, sines[c]);
      const auto first = hn::MulAdd(b, sine, hn::Mul(a, cosine)), second = hn::NegMulAdd(a, sine, hn::Mul(b, cosine));
      hn::StoreU(first, d, turned + c * rows + r);
      hn::StoreU(second, d, turned + (half + c) * rows + r);
      largest = hn::Max(largest, hn::Max(hn::Abs(first), hn::Abs(second)));
      total = hn::Add(total, hn::Abs(first));
      other = hn::Add(other, hn::Abs(second));
    }
    const auto step = hn::Max(hn::Mul(largest, hn::Set(d, 1 / kMostInt16)),
                              hn::Mul(hn::Add(total, other), hn::Set(d, 1 / kMostOfQuery)));
    const auto inverse = hn::IfThenElseZero(hn::Gt(step, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), step));
    for (int64_t c = 0; c < 2 * half; c += 2) {
      const auto a = hn::NearestInt(hn::Mul(hn::LoadU(d, turned + c * rows + r), inverse));
      const auto b = hn::NearestInt(hn::Mul(hn::LoadU(d, turned + (c + 1) * rows + r), inverse));
      hn::StoreU(hn::Or(hn::And(a, low), hn::ShiftLeft<16>(b)), di, reinterpret_cast<int32_t*>(out) + c / 2 * rows + r);
    }
    hn::StoreU(step, d, steps + r);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
