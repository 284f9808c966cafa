// Packed keys before RoPE as integers, turned by their place in the tile; one instance a Highway target. Included by
// kernels.cc after turning-inl.h. docs/METHODS.md, "Products of codes", states the method and its error.
//
// Turning mixes channels whose scales differ, so products of codes do not do. Codes become integers of one unit for
// both channels of a pair, or for all of a token, and stay so: twice as many stand in a vector as of floats. A row is
// two channels of all tokens.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Whether turned_codes() can have them. Rotated keys would lose three bits in their sums.
HWY_INLINE bool turns_codes(const PackedSide& side) { return HWY_TARGET != HWY_SCALAR && !side.rotated; }

// A turned value is at most this many of its units, and the products of a query with one key fit an int32: of 2^31 /
// 16384, what rounding adds is left.
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

  // Units f32 [head_dim / 2] are the largest of all spans of a run.
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
    return [scale, low](Wide high, int64_t) HWY_ATTR { return hn::Add(low, times_scale(high, scale)); };
  }
};

// The same of tokens that have scales of their own, and a unit for all of them: what tokens share, the offset, is in
// parts of its largest. A token's number stands in both lanes of its pair.
struct TokenValues {
  // Of a group of channels.
  struct Group {
    HWY_ALIGN int16_t scales[2 * kTile];
    HWY_ALIGN int16_t minimums[2 * kTile];
  };
  Group groups[kLargestHead / kGroupMultiple];
  // Of kGroupMultiple channels each: a division would take as long as their products.
  const Group* group_of[kLargestHead / kGroupMultiple];
  HWY_ALIGN int16_t reaches[2 * kTile];  // the largest offset
  HWY_ALIGN int16_t offsets[kLargestHead];

  static HWY_INLINE void store_both(VF x, int16_t* out) {
    const DI d;
    const auto one = Nearest(x).integer();
    hn::StoreU(hn::Or(hn::And(one, hn::Set(d, 0xffff)), hn::ShiftLeft<16>(one)), d, reinterpret_cast<int32_t*>(out));
  }
  // Scales and minimums f32 [groups][kTile]; the first scales become units [count].
  HWY_INLINE TokenValues(const PackedSide& side, int64_t count, float* from_scales, const float* from_minimums,
                         const float* offset) {
    const DF d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const float most = offset == nullptr ? 0 : largest_of(offset, side.head_dim);
    const float inverse_most = most > 0 ? 32767 / most : 0.0f;
    for (int64_t c = 0; c < side.head_dim; c += lanes) {
      const auto one = offset == nullptr ? hn::Zero(d) : hn::LoadU(d, offset + c);
      store_fixed(hn::Mul(one, hn::Set(d, inverse_most)), offsets + c);
    }
    for (int c = 0; c < side.head_dim; c += kGroupMultiple) group_of[c / kGroupMultiple] = groups + c / side.group;
    const auto levels = hn::Set(d, static_cast<float>(side.levels())), reach = hn::Set(d, most);
    const auto top = hn::Set(d, static_cast<float>(1 << bits_of(side.codec)));
    for (int64_t t = 0; t < count; t += lanes) {
      auto largest = hn::Zero(d);
      for (int64_t at = t; at < side.groups() * kTile; at += kTile) {
        const auto scale = hn::LoadU(d, from_scales + at), low = hn::LoadU(d, from_minimums + at);
        largest = hn::Max(largest, hn::Max(hn::Abs(low), hn::Abs(hn::MulAdd(levels, scale, low))));
      }
      largest = hn::Add(largest, reach);
      const auto unit = units_of(largest, largest), inverse = inverse_or_zero(unit);
      for (int g = 0; g < side.groups(); ++g) {
        const auto scale = hn::LoadU(d, from_scales + g * kTile + t), low = hn::LoadU(d, from_minimums + g * kTile + t);
        store_both(hn::Mul(hn::Mul(scale, top), inverse), groups[g].scales + 2 * t);
        store_both(hn::MulAdd(low, inverse, hn::Set(d, 0.5f)), groups[g].minimums + 2 * t);
      }
      store_both(hn::Mul(reach, inverse), reaches + 2 * t);
      hn::StoreU(unit, d, from_scales + t);
    }
  }
  HWY_INLINE auto of_channels(int64_t c) const {
    const Group& own = *group_of[c / kGroupMultiple];
    const auto offset = both_channels(offsets + c);
    return [this, &own, offset](Wide high, int64_t at) HWY_ATTR {
      const DWide d;
      const auto scale = hn::BitCast(DUnsigned(), hn::LoadU(d, own.scales + at));
      const auto low =
          hn::Add(hn::LoadU(d, own.minimums + at), hn::MulFixedPoint15(hn::LoadU(d, reaches + at), offset));
      return hn::Add(low, times_scale(high, scale));
    };
  }
};

// Codes of channels c and c + 1 and of those with which they turn.
template <Codec kCodec, typename Values>
struct TurnedPairs {
  decltype(std::declval<Values>().of_channels(0)) value_a, value_b;
  const int16_t *cosines, *sines;

  HWY_INLINE TurnedPairs(const PackedSide& side, const int16_t* turns, const Values& values, int64_t c)
      : value_a(values.of_channels(c)),
        value_b(values.of_channels(side.head_dim / 2 + c)),
        cosines(turns + c * kTile),
        sines(cosines + side.head_dim / 2 * kTile) {}
  // Of the tokens from at / 2 on: become turned values in units.
  HWY_INLINE void turn(int64_t at, Wide& a, Wide& b) const {
    const DWide d;
    constexpr int kShift = 16 - bits_of(kCodec);
    const auto x = value_a(hn::ShiftLeft<kShift>(a), at), y = value_b(hn::ShiftLeft<kShift>(b), at);
    const auto cosine = hn::LoadU(d, cosines + at), sine = hn::LoadU(d, sines + at);
    a = hn::Sub(hn::MulFixedPoint15(x, cosine), hn::MulFixedPoint15(y, sine));
    b = hn::Add(hn::MulFixedPoint15(x, sine), hn::MulFixedPoint15(y, cosine));
  }
};

// Tokens [first, first + count) of a tile at `place` of a block: turns and out as in turned_codes().
template <Codec kCodec, typename Values>
HWY_INLINE void turn_tokens(const PackedSide& side, const uint8_t* block, int64_t place, int64_t first, int64_t count,
                            const int16_t* turns, const Values& values, int16_t* out) {
  const DWide d;
  const int64_t half = side.head_dim / 2, bytes = static_cast<int64_t>(chunk_bytes(kCodec));
  const uint8_t* chunks = block + side.code_place(place + first, 0).chunk * bytes;
  const int64_t ahead = kBlocksAhead * static_cast<int64_t>(side.block_bytes);
  const auto turn = [&](int64_t c, int64_t t, const Wide(&a)[kWides], const Wide(&b)[kWides]) HWY_ATTR {
    const TurnedPairs<kCodec, Values> pairs(side, turns, values, c);
    int16_t* to_a = out + c * kTile + 2 * t;
    int16_t* to_b = to_a + half * kTile;
#pragma GCC unroll 2
    for (int i = 0; i < kWides; ++i) {
      const int64_t at = i * static_cast<int64_t>(hn::Lanes(d));
      Wide x = a[i], y = b[i];
      pairs.turn(2 * t + at, x, y);
      hn::StoreU(x, d, to_a + at);
      hn::StoreU(y, d, to_b + at);
    }
  };
  for (int64_t c = 0; c < half; c += kFour, chunks += bytes) {
    const uint8_t* chunk = chunks;
    for (int64_t t = first; t < first + count; t += kLanes, chunk += 2 * half / kFour * bytes) {
      const uint8_t* other = chunk + half / kFour * bytes;
      tell(chunk + ahead);
      tell(other + ahead);
      Wide a[kWides], b[kWides], next_a[kWides], next_b[kWides];
      unpack_pairs<kCodec>(chunk, a, next_a);
      unpack_pairs<kCodec>(other, b, next_b);
      turn(c, t, a, b);
      turn(c + 2, t, next_a, next_b);
    }
  }
}
#endif

// side.turns_fixed turned on by a position: int16 [2][head_dim / 4][kTile][2].
HWY_INLINE void turns_from([[maybe_unused]] const PackedSide& side, [[maybe_unused]] int64_t position,
                           [[maybe_unused]] int16_t* out) {
#if HWY_TARGET != HWY_SCALAR
  const DF d;
  const DI di;
  const int64_t half = side.head_dim / 2;
  float space[kLargestHead];
  const float* turn = turn_of(side, position, space);
  const auto unit = hn::Set(d, kFixedOne / side.turns[0]);  // which is the magnitude
  for (int64_t c = 0; c < half; c += 2) {
    for (int64_t t = 0; t < kTile; t += static_cast<int64_t>(hn::Lanes(d))) {
      hn::Vec<DI> cosines[2], sines[2];
      repeat<2>([&](auto i) KVPARETO_EXPANDED {
        const float* of_places = side.turns_across + (c + i) * kTile + t;
        const auto cosine = hn::LoadU(d, of_places), sine = hn::LoadU(d, of_places + half * kTile);
        const auto by_cosine = hn::Mul(unit, hn::Set(d, turn[c + i])),
                   by_sine = hn::Mul(unit, hn::Set(d, turn[half + c + i]));
        cosines[i] = Nearest(hn::NegMulAdd(by_sine, sine, hn::Mul(by_cosine, cosine))).lower_half();
        sines[i] = Nearest(hn::MulAdd(by_sine, cosine, hn::Mul(by_cosine, sine))).lower_half();
      });
      const auto store = [&](const auto(&two)[2], int16_t* to) HWY_ATTR {
        const auto both = hn::Or(hn::And(two[0], hn::Set(di, 0xffff)), hn::ShiftLeft<16>(two[1]));
        hn::StoreU(both, di, reinterpret_cast<int32_t*>(to + c * kTile + 2 * t));
      };
      store(cosines, out);
      store(sines, out + half * kTile);
    }
  }
#endif
}

#if HWY_TARGET != HWY_SCALAR
// Codes of a head from `token` on, in whole tiles or a part of one, as they are turned.
struct TurnedRun {
  const PackedSide& side;
  int64_t head, token, count;
  // Space: [kMostFolds][head_dim] or a tile of each group, and [head_dim / 2].
  float *scales, *minimums, *units;

  HWY_INLINE const uint8_t* block(int64_t t) const { return side.block(head, token + t); }
  HWY_INLINE int64_t place(int64_t t) const { return side.place_of(token + t); }
};

// Finds units of all codes of the run, f32 [head_dim / 2], and calls ready(); then for each tile begin(t), with t its
// first token's place in the run, and visit(t, tokens, values, of_tokens) for each of its parts that share Values:
// units of tokens, [tokens of the tile], are those by which the pairs' are to be multiplied.
template <typename Ready, typename Begin, typename Visit>
HWY_INLINE void each_turned(const TurnedRun& run, Ready ready, Begin begin, Visit visit) {
  const DF df;
  const PackedSide& side = run.side;
  const float* offset = side.offset_of(run.head);
  const auto each_tile = [&](auto body) HWY_ATTR {
    for (int64_t t = 0; t < run.count; t += kTile) body(t, run.count - t < kTile ? run.count - t : kTile);
  };
  if (side.span == 1) {
    for (int64_t c = 0; c < side.head_dim / 2; c += static_cast<int64_t>(hn::Lanes(df)))
      hn::StoreU(hn::Set(df, 1.0f), df, run.units + c);
    ready();
    return each_tile([&](int64_t t, int64_t tokens) HWY_ATTR {
      prefetch_fits(side, run.block(t) + kBlocksAhead * side.block_bytes);
      for (int g = 0; g < side.groups(); ++g)
        token_fits(side, run.block(t), run.place(t), tokens, g, run.scales + g * kTile, run.minimums + g * kTile);
      const TokenValues values(side, tokens, run.scales, run.minimums, offset);
      begin(t);
      visit(t, tokens, values, run.scales);
    });
  }
  const auto at = [&](int64_t t) HWY_ATTR {
    const int64_t before = run.place(0) & (side.span - 1);
    return side.span == 0 ? 0 : PackedSide::wholes(before + t, side.span) * side.head_dim;
  };
  for (int64_t t = 0; t < run.count;) {
    if (t % kTile == 0) prefetch_fits(side, run.block(t) + kBlocksAhead * side.block_bytes);
    channel_fits(side, run.block(t), run.place(t), run.scales + at(t), run.minimums + at(t));
    ChannelValues::widen_units(side, run.scales + at(t), run.minimums + at(t), offset, t == 0, run.units);
    t += span_tokens(side, run.place(t), run.count - t);
  }
  ready();
  each_tile([&](int64_t t, int64_t tokens) HWY_ATTR {
    begin(t);
    for (const int64_t end = t + tokens; t < end;) {
      const int64_t shared = span_tokens(side, run.place(t), end - t);
      visit(t, shared, ChannelValues(side, run.scales + at(t), run.minimums + at(t), offset, run.units), kOnes.ones);
      t += shared;
    }
  });
}
#endif
// What units are to be multiplied by besides: cosines had no magnitude, and their one was not quite one.
HWY_INLINE float unit_factor(const PackedSide& side) { return side.turns[0] * (32768.0f / kFixedOne); }

// As turned_tile(), but by cosines and sines like turns_fixed, and int16 [head_dim / 2][kTile][2] times units as
// each_turned() has them; those of tokens are the result.
HWY_INLINE const float* turned_codes([[maybe_unused]] const PackedSide& side, [[maybe_unused]] int64_t head,
                                     [[maybe_unused]] int64_t token, [[maybe_unused]] int64_t count,
                                     [[maybe_unused]] const int16_t* turns, [[maybe_unused]] float* scales,
                                     [[maybe_unused]] float* minimums, [[maybe_unused]] float* units,
                                     [[maybe_unused]] int16_t* out) {
  const float* units_of_tokens = kOnes.ones;
#if HWY_TARGET != HWY_SCALAR
  each_turned(
      TurnedRun{side, head, token, count, scales, minimums, units}, [] {}, [](int64_t) {},
      [&](int64_t first, int64_t tokens, const auto& values, const float* of_tokens) HWY_ATTR {
        units_of_tokens = of_tokens;
        with_codec(side.codec, [&](auto codec) HWY_ATTR {
          turn_tokens<codec>(side, side.block(head, token), side.place_of(token), first, tokens, turns, values, out);
        });
      });
#endif
  return units_of_tokens;
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
