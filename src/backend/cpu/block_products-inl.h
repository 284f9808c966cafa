// Scores and weighted sums of many queries, a tile of keys at a time; one instance a Highway target. Included by
// kernels.cc after block_rows-inl.h.
//
// Query rows stand in the vector lanes: a tile of keys is unpacked once for a block of rows and enters as broadcasts,
// and neither scores nor sums need a transpose or a sum across lanes.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

constexpr float kMasked = -1e30f;  // far below any score, and its power is 0 without a NaN

// The scratch of one attend_block; block_scratch() is its size.
struct BlockSpace {
  float* next;
  float* queries;     // [head_dim][rows], times log2(e) / sqrt(head_dim)
  float* sums;        // [head_dim][rows]
  float* scores;      // [kTile + 8][rows], then weights, zeros behind the last
  float* tile;        // [kTile + 8][head_dim] f32, or its codes as unpack_tile()
                      // leaves them
  float* maxima;      // [rows]
  float* masses;      // [rows]
  float* highest;     // [rows]: scores of the tile
  float* largest;     // [rows]: scores and logs of factors, then weights of the tile times factors
  float* logs;        // [kTile]: of factors
  float* scales;      // [pieces][kTile] or [head_dim]
  float* centres;     // the same
  float* units;       // [head_dim]: turned_codes()
  int16_t* rounded;   // queries [head_dim / 2][rows][2], or by fours, or both halves by fours
  int16_t* weights;   // [kTile / 2][rows][2], or by fours
  float* of_queries;  // [2][pieces][3][rows]
  float* of_weights;  // [3][rows]

  BlockSpace(float* scratch, int64_t rows, int64_t d) : next(scratch) {
    queries = take(rows * d);
    sums = take(rows * d);
    scores = take((kTile + 8) * rows);
    tile = take((kTile + 8) * d);
    maxima = take(rows);
    masses = take(rows);
    highest = take(rows);
    largest = take(rows);
    logs = take(kTile);
    scales = take(most_pieces(d) * kTile);
    centres = take(most_pieces(d) * kTile);
    units = take(d);
    rounded = reinterpret_cast<int16_t*>(take(rows * d / 2));
    weights = reinterpret_cast<int16_t*>(take(kTile / 2 * rows));
    of_queries = take(6 * most_pieces(d) * rows);
    of_weights = take(3 * rows);
  }
  float* take(int64_t count) {
    float* part = next;
    next += count;
    return part;
  }
  int16_t* codes() const { return reinterpret_cast<int16_t*>(tile); }
  int16_t* turns(int64_t d) const { return codes() + kTile * d; }  // behind them: turns_from()
  // Instead, as RowProducts has them:
  bf16* rounded_queries() const { return reinterpret_cast<bf16*>(rounded); }
  bf16* rounded_weights() const { return reinterpret_cast<bf16*>(weights); }
};

// Many queries of one kv head against its keys and values, a tile at a time: tokens read as codes are multiplied as
// codes, the others are decoded. `by_rows`, or null, multiplies keys that are decoded and bear it.
class BlockProducts {
 public:
  BlockProducts(const RowProducts* by_rows, const AttendJob& job, int64_t kv_head, const BlockSpace& space)
      : by_rows_(bear_bf16(job.keys) ? by_rows : nullptr),
        values_by_rows_(job.values.codec == Codec::kBf16 ? by_rows : nullptr),
        job_(job),
        head_(kv_head),
        d_(job.head_dim),
        rows_(int64_t{job.queries_per_block} * job.group()),
        space_(space),
        turns_(by_rows_ == nullptr && job.keys.before_rope && turns_codes(job.keys)) {
    if (by_rows_ != nullptr) by_rows_->round_queries(space.queries, d_, rows_, space.rounded_queries());
  }

  // scores [count][rows] and the highest, once the tile's factors are found
  HWY_INLINE void score(int64_t token, int64_t count) {
    const PackedSide& side = job_.keys;
    const int64_t packed = turns_ || has_codes(side) ? packed_count(side, token, count) : 0;
    if (packed > 0 && turns_) {
      score_turned(side, token - side.sinks, packed);
    } else if (packed > 0) {
      with_key_kind(side, [&](auto kind) HWY_ATTR { score_codes<decltype(kind)>(side, token - side.sinks, packed); });
    }
    if (packed == count) return;
    const int64_t left = count - packed, padded = (left + 7) / 8 * 8;
    for (int64_t i = left * d_; i < padded * d_; ++i) space_.tile[i] = 0;
    decode(side, head_, token + packed, left, space_.tile);
    if (by_rows_ != nullptr) {
      by_rows_->score(space_.tile, padded, space_.rounded_queries(), d_, rows_, space_.scores);
    } else {
      multiply(space_.tile, d_, 1, d_, space_.queries, padded, space_.scores + packed * rows_, rows_, false);
    }
    find_highest(packed, count, {0, rows_});
  }

  // Of some rows' scores of tokens [first, last) of the tile, and of those before if there are.
  HWY_INLINE void find_highest(int64_t first, int64_t last, RowRange range) {
    constexpr int64_t kLanesOfRow = static_cast<int64_t>(hn::MaxLanes(DF()));
    int64_t r = range.begin;
    for (; r + kRowVectors * kLanesOfRow <= range.end; r += kRowVectors * kLanesOfRow)
      find_highest_part<kRowVectors>(first, last, r);
    for (; r < range.end; r += kLanesOfRow) find_highest_part<1>(first, last, r);
  }

  // Bounds of log 2 of what add() multiplies weights with: of each token's scales the largest.
  HWY_INLINE void find_factors(int64_t token, int64_t count) {
    const DF d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const PackedSide& side = job_.values;
    const int64_t packed = packed_count(side, token, count), behind = token - side.sinks;
    const bool scaled = packed > 0 && !side.folds();
    for (int64_t t = 0; t < kTile; t += lanes) hn::StoreU(hn::Set(d, scaled ? 0.0f : 1.0f), d, space_.logs + t);
    for (int g = 0; scaled && g < side.groups(); ++g) {
      token_fits(side, side.block(head_, behind), side.place_of(behind), packed, g, space_.scales, space_.centres);
      for (int64_t t = 0; t < packed; t += lanes) {
        const auto scale = hn::Abs(hn::LoadU(d, space_.scales + t));
        hn::StoreU(hn::Max(scale, hn::LoadU(d, space_.logs + t)), d, space_.logs + t);
      }
    }
    largest_factor_ = largest_of(space_.logs, kTile);
    for (int64_t t = 0; t < kTile; t += lanes)
      hn::StoreU(log_above(d, hn::LoadU(d, space_.logs + t)), d, space_.logs + t);
  }

  // sums [head_dim][rows] += weights times values
  HWY_INLINE void add(int64_t token, int64_t count) {
    const PackedSide& side = job_.values;
    const int64_t packed = packed_count(side, token, count);
    const auto add = [&](auto kind) HWY_ATTR { add_codes<decltype(kind)>(side, token - side.sinks, packed); };
    if (packed > 0) weights_are_even() ? with_kind<true, kMostOfEvenFours>(side, add) : with_kind<true>(side, add);
    if (packed == count) return;
    decode(side, head_, token + packed, count - packed, space_.tile);
    const float* weights = space_.scores + packed * rows_;
    if (values_by_rows_ != nullptr)
      return values_by_rows_->add(space_.tile, count - packed, weights, d_, rows_, space_.rounded_weights(),
                                  space_.sums);
    multiply(space_.tile, 1, d_, count - packed, weights, d_, space_.sums, rows_, true);
  }

 private:
  // Whether every weight, if it had the largest factor, would be at most kEvenShare of its query's mass; half of that
  // where a sign takes one of its bits.
  HWY_INLINE bool weights_are_even() const {
    const DF d;
    const float share = job_.values.fit == Fit::kSymmetric ? kEvenShare / 2 : kEvenShare;
    const auto most = hn::Set(d, share * largest_factor_);
    for (int64_t r = 0; r < rows_; r += static_cast<int64_t>(hn::Lanes(d))) {
      const auto product = hn::LoadU(d, space_.largest + r), mass = hn::LoadU(d, space_.masses + r);
      if (!hn::AllTrue(d, hn::Le(product, hn::Mul(mass, most)))) return false;
    }
    return true;
  }
  // Whether what RowProducts rounds is less than what keys are off by.
  static HWY_INLINE bool bear_bf16(const PackedSide& keys) {
    return keys.before_rope ? keys.levels() <= kMostOfFours : keys.codec == Codec::kBf16;
  }
  // Whether keys are multiplied as codes.
  static HWY_INLINE bool has_codes(const PackedSide& keys) { return !keys.before_rope && keys.codec != Codec::kBf16; }

  HWY_INLINE Rounded rounded_at(float* all, int64_t piece) const { return Rounded::in(all + 3 * piece * rows_, rows_); }

  // with_kind() of queries; those of 8-bit codes in two bytes.
  template <typename Body>
  static HWY_INLINE void with_key_kind(const PackedSide& side, Body body) {
#if HWY_TARGET <= HWY_AVX3
    if (side.codec == Codec::kInt8) return body(ByHalves());
#endif
    with_kind<false>(side, body);
  }

  HWY_INLINE Rounded of_queries(int64_t half, int64_t piece) const {
    return rounded_at(space_.of_queries, half * most_pieces(d_) + piece);
  }
  // Numbers of queries from a channel on; the lower halves lie behind all others.
  template <typename Kind>
  HWY_INLINE int16_t* numbers(int64_t half, int64_t channel) const {
    return space_.rounded + (half * d_ / 2 + channel / Kind::kEach * 2) * rows_;
  }

  template <typename Kind>
  HWY_INLINE void round_queries(const PackedSide& side, const void* fits, const float* factors, const float* centres,
                                int64_t stride) {
    if (fits == folded_) return;
    folded_ = fits;
    each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      const Rounded rounded = of_queries(0, piece);
      const float* queries = space_.queries + c * rows_;
      largest_of_rows(queries, n, rows_, factors + c * stride, rounded.steps);
#if HWY_TARGET <= HWY_AVX3
      if constexpr (std::is_same_v<Kind, ByHalves>)
        return round_in_halves(queries, n, rows_, factors + c * stride, centres + c * stride, rounded.steps,
                               numbers<Kind>(0, c), numbers<Kind>(1, c), rounded, of_queries(1, piece));
#endif
      round_rows<Kind>(queries, n, rows_, factors + c * stride, centres + c * stride, rounded.steps,
                       numbers<Kind>(0, c), rounded);
    });
  }

  // Whether the weights of rows are even (kEvenShare), as far as scores and masses go now.
  HWY_INLINE bool are_even(RowRange range) const {
    const DF d;
    for (int64_t r = range.begin; r < range.end; r += static_cast<int64_t>(hn::Lanes(d))) {
      const auto mass = log_below(d, hn::LoadU(d, space_.masses + r)), maximum = hn::LoadU(d, space_.maxima + r);
      const auto most = hn::Add(maximum, hn::Sub(mass, hn::Set(d, kEvenBits)));
      if (!hn::AllTrue(d, hn::Le(hn::LoadU(d, space_.highest + r), most))) return false;
    }
    return true;
  }

  template <int kVectors>
  HWY_INLINE void find_highest_part(int64_t first, int64_t last, int64_t r) {
    const DF d;
    VF highest[kVectors], product[kVectors];
    const auto place = [&](float* of_rows, auto v)
                           HWY_ATTR { return of_rows + r + v * static_cast<int64_t>(hn::Lanes(d)); };
    repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
      highest[v] = first == 0 ? hn::Set(d, kMasked) : hn::LoadU(d, place(space_.highest, v));
      product[v] = first == 0 ? hn::Set(d, kMasked) : hn::LoadU(d, place(space_.largest, v));
    });
    for (int64_t k = first; k < last; ++k) {
      const auto log = hn::Set(d, space_.logs[k]);
      repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
        const auto score = hn::LoadU(d, place(space_.scores + k * rows_, v));
        highest[v] = hn::Max(highest[v], score);
        product[v] = hn::Max(product[v], hn::Add(score, log));
      });
    }
    repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
      hn::StoreU(highest[v], d, place(space_.highest, v));
      hn::StoreU(product[v], d, place(space_.largest, v));
    });
  }

  // Scores of tokens of the tile that share what queries are rounded for. each_fit(visit) calls visit(piece, channel,
  // channels, fit) for all pieces.
  template <typename Kind, typename EachFit>
  HWY_INLINE void score_stretch(int64_t first, int64_t tokens, EachFit each_fit) {
    const auto add = [&](int64_t half, RowRange range) HWY_ATTR {
      each_fit([&](int64_t piece, int64_t c, int64_t n, const auto& fit) HWY_ATTR {
        add_all_products<Kind>(space_.codes() + (c / Kind::kEach * kTile + first) * 2, 2 * kTile, n / Kind::kEach, fit,
                               numbers<Kind>(half, c), of_queries(half, piece), rows_, range, tokens, half + piece > 0,
                               space_.scores + first * rows_);
      });
    };
    const int64_t part = kRowVectors * static_cast<int64_t>(hn::Lanes(DF()));
    for (int64_t r = 0; r < rows_; r += part) {
      const RowRange range{r, r + part < rows_ ? r + part : rows_};
      add(0, range);
      find_highest(first, first + tokens, range);
#if HWY_TARGET <= HWY_AVX3
      if constexpr (std::is_same_v<Kind, ByHalves>) {
        if (are_even(range)) continue;
        add(1, range);
        find_highest(0, first + tokens, range);
      }
#endif
    }
  }

  template <typename Kind>
  HWY_INLINE void score_codes(const PackedSide& side, int64_t token, int64_t count) {
    const uint8_t* block = side.block(head_, token);
    const int64_t place = side.place_of(token);
    const float middle = middle_of(side);
    unpack_for<Kind>(side, block, place, count, space_.codes());
    if (!side.folds()) {
      round_queries<Kind>(side, &side, kOnes.ones, kOnes.ones, 0);
      each_piece(side, [&](int64_t piece, int64_t c, int64_t) HWY_ATTR {
        token_centres(side, block, place, count, static_cast<int>(c / side.group), space_.scales + piece * kTile,
                      space_.centres + piece * kTile);
      });
      score_stretch<Kind>(0, count, [&](auto visit) HWY_ATTR {
        each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
          visit(piece, c, n, Affine{space_.scales + piece * kTile, space_.centres + piece * kTile, middle});
        });
      });
      return;
    }
    for (int64_t t = 0; t < count;) {
      const int64_t tokens = span_tokens(side, place + t, count - t);
      channel_centres(side, block, place + t, space_.scales, space_.centres);
      round_queries<Kind>(side, scales_of(side, block, place + t, 0), space_.scales, space_.centres, 1);
      score_stretch<Kind>(t, tokens, [&](auto visit) HWY_ATTR {
        each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR { visit(piece, c, n, Unscaled{middle}); });
      });
      t += tokens;
    }
  }

  // Keys before RoPE, turned by their positions: a query is rounded for their units, and so that its products fit.
  HWY_INLINE void score_turned(const PackedSide& side, int64_t token, int64_t count) {
    turns_from(side, token + side.sinks, space_.turns(d_));
    const float* of_tokens = turned_codes(side, head_, token, count, space_.turns(d_), space_.scales, space_.centres,
                                          space_.units, space_.codes());
    const uint8_t* block = side.block(head_, token);
    const void* fits =
        side.span == 1 ? static_cast<const void*>(&side) : scales_of(side, block, side.place_of(token), 0);
    if (fits != folded_) {
      folded_ = fits;
      for (int64_t c = 0; c < d_ / 2; ++c)
        space_.units[c] = space_.units[d_ / 2 + c] = space_.units[c] * unit_factor(side);
      const Rounded rounded = of_queries(0, 0);
      bound_of_rows(space_.queries, d_, rows_, space_.units, kMostInt16 / kMostOfQuery, rounded.steps);
      round_rows<ByPairs>(space_.queries, d_, rows_, space_.units, kZeros, rounded.steps, numbers<ByPairs>(0, 0),
                          rounded);
    }
    score_stretch<ByPairs>(0, count, [&](auto visit) HWY_ATTR { visit(0, 0, d_, Affine{of_tokens, kOnes.ones, 0}); });
  }

  template <typename Kind>
  HWY_INLINE void add_codes(const PackedSide& side, int64_t token, int64_t count) {
    constexpr int64_t kEach = Kind::kEach;
    const uint8_t* block = side.block(head_, token);
    const int64_t place = side.place_of(token);
    const float middle = middle_of(side) - (Kind::kSignedCodes && side.codec == Codec::kInt8 ? 128 : 0);
    unpack_for<Kind>(side, block, place, count, space_.codes());
    const Rounded rounded = rounded_at(space_.of_weights, 0);
    const auto round = [&](int64_t first, int64_t tokens, const float* scales, const float* centres) HWY_ATTR {
      round_rows<Kind>(space_.scores + first * rows_, (tokens + kEach - 1) / kEach * kEach, rows_, scales, centres,
                       space_.largest, space_.weights, rounded);
    };
    const auto add = [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales,
                         const float* centres) HWY_ATTR {
      const auto by = [&](const auto& fit) HWY_ATTR {
        add_all_products<Kind>(space_.codes() + (first / kEach * d_ + c) * 2, 2 * d_, (tokens + kEach - 1) / kEach, fit,
                               space_.weights, rounded, rows_, {0, rows_}, n, true, space_.sums + c * rows_);
      };
      side.folds() ? by(Affine{scales, centres, middle}) : by(Unscaled{middle});
    };
    add_values(side, block, place, count, space_.scales, space_.centres, round, add);
  }

  const RowProducts* by_rows_;  // of keys, or null
  const RowProducts* values_by_rows_;
  const AttendJob& job_;
  const int64_t head_, d_, rows_;
  const BlockSpace& space_;
  const bool turns_;  // keys before RoPE, as integers
  const void* folded_ = nullptr;
  float largest_factor_ = 1;  // of the tile, by find_factors()
};

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
