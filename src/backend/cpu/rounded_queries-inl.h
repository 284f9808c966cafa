// The queries of a decode step, rounded to what codes are multiplied with; one instance a Highway target. Included by
// kernels.cc after rounding-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// The scratch of one attend_splits; split_scratch() is its size.
struct SplitSpace {
  float* next;
  float* queries;    // [group][head_dim], times log2(e) / sqrt(head_dim)
  float* by_parity;  // the same as split_pairs() leaves them
  float* turned;     // the same turned back by the tile
  float* scores;     // [group][kRun], then weights
  float* tile;       // [kTile][head_dim]: keys before RoPE
  int16_t* codes;    // a tile of them as unpack_tile() leaves it, or turned
  float* scales;     // [pieces][kRun], [2][head_dim] or [kMostFolds][head_dim]
  float* centres;    // the same, or minimums
  float* units;      // [head_dim]
  // In fixed point:
  int16_t* fixed_queries;  // [group][head_dim]
  int16_t* fixed_weights;  // [group][kRun]
  int16_t* fixed_scales;   // [kRun] or [kMostFolds][fixed_row()]
  float* query_units;      // [group]
  float* inverses;         // [group]: of steps, TurnedQueries
  int16_t* rounded;        // queries [kMostFolds][group][head_dim]
  int16_t* weights;        // [group][kRun]
  float* largest;          // [group] and a vector
  float* totals;           // [group]
  int16_t* narrows;        // [group]
  float* of_queries;       // [pieces] or [kMostFolds][long pieces]: Rounded::in() of a group
  float* of_weights;       // one of these

  SplitSpace(float* scratch, int64_t group, int64_t d) : next(scratch) {
    queries = take(group * d);
    by_parity = take(group * d);
    turned = take(group * d);
    scores = take(group * kRun);
    tile = take(kTile * d);
    codes = reinterpret_cast<int16_t*>(take(kTile * d / 2));
    scales = take(most_pieces(d) * kRun);
    centres = take(most_pieces(d) * kRun);
    units = take(d);
    fixed_queries = reinterpret_cast<int16_t*>(take(group * d / 2));
    fixed_weights = reinterpret_cast<int16_t*>(take(group * kRun / 2));
    fixed_scales = reinterpret_cast<int16_t*>(take((kMostFolds * fixed_row(d) + kRun) / 2));
    query_units = take(group);
    inverses = take(group);
    rounded = reinterpret_cast<int16_t*>(take(kMostFolds * group * d / 2));
    weights = reinterpret_cast<int16_t*>(take(group * kRun / 2));
    largest = take(group + kRowMultiple);
    totals = take(group);
    narrows = reinterpret_cast<int16_t*>(take(group));
    of_queries = take(3 * whole_lines(group) * kMostFolds * long_pieces(d));
    of_weights = take(3 * whole_lines(group));
  }
  float* take(int64_t count) {
    float* part = next;
    next += whole_lines(count);
    return part;
  }
  float* sizes() const { return by_parity; }  // of queries' pairs [group][head_dim / 2], instead: TurnedQueries
};

// Tokens of a block that share the scales of their channels.
struct CodeSpan {
  const uint8_t* block;
  int64_t place, first, tokens;  // in the block, in what is scored, and how many
};

// Kind: how queries are multiplied with codes.
template <typename Kind>
class RoundedQueries {
 public:
  RoundedQueries(const PackedSide& side, int64_t group, const SplitSpace& space)
      : side_(side), group_(group), d_(side.head_dim), space_(space) {
    if (side.codec == Codec::kBf16 || side.before_rope) return;
    if (!side.folds()) {
      round_floats_by(0, kOnes.ones, kOnes.ones);
      return;
    }
    for (int64_t i = 0; i < kMostFolds * long_pieces(d_); ++i) {
      for (int64_t q = 0; q < group_; ++q) rounded(0, i).wholes[q] = 0;
    }
    if (!kInBytes) return;
    for (int64_t q = 0; q < group_; ++q) {
      const float largest = largest_of(space.queries + q * d_, d_);
      space.query_units[q] = largest / kMostFixed;
      to_fixed(space.queries + q * d_, d_, inverse_unit(largest), space.fixed_queries + q * d_);
    }
  }

  // The scales of each span are multiplied into the queries, and the centres become one number. What a span needs waits
  // for its largest numbers, so several, at most kMostFolds, are made together.
  HWY_INLINE void fold(const CodeSpan* spans, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      channel_centres(side_, spans[i].block, spans[i].place, space_.scales + i * d_, space_.centres + i * d_);
    if constexpr (kInBytes) {
      fold_fixed(count);
    } else {
      for (int64_t i = 0; i < count; ++i)
        round_floats_by(i, space_.scales + i * d_, space_.centres + i * d_, middle_of(side_));
    }
  }

  // Of the i-th span, from a channel on, a multiple of kLanes; the queries' rows lie head_dim apart.
  HWY_INLINE int16_t* numbers(int64_t i, int64_t c) const {
    return space_.rounded + i * group_ * d_ + c * 2 / Kind::kEach;
  }
  // Lanes of as many tokens each, a power of two, with the numbers of these spans in turn.
  HWY_INLINE LaneSpans spans_of(int64_t tokens) const {
    return {__builtin_ctzll(static_cast<uint64_t>(tokens)), group_ * d_, 3 * whole_lines(group_) * long_pieces(d_)};
  }
  // Sums of spans that are folded are less what the middle of their codes takes away, and wholes are zero.
  HWY_INLINE Rounded rounded(int64_t i, int64_t piece) const {
    const int64_t rows = whole_lines(group_);
    return Rounded::in(space_.of_queries + 3 * rows * (i * long_pieces(d_) + piece), rows);
  }

 private:
  // Numbers of 16 bits would lose too many of them in fixed point.
  static constexpr bool kInBytes = Kind::kEach == 4;

  template <typename... Middle>
  HWY_INLINE void round_floats_by(int64_t i, const float* factors, const float* centres, Middle... middle) {
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      in_parts<kMostRounded>(group_, [&](auto queries, int64_t q) HWY_ATTR {
        const Rounded part = rounded(i, piece).from(q);
        const float* x = space_.queries + q * d_ + c;
        extents_of<queries>(x, d_, n, factors + c, part.steps, space_.totals);
        for (int j = 0; j < queries; ++j) part.steps[j] *= 1 / Kind::kMost;
        round_floats<Kind, queries>(x, d_, n, factors + c, centres + c, numbers(i, c) + q * d_, part, middle...);
      });
    });
  }

  HWY_INLINE void fold_fixed(int64_t count) {
    const int64_t row = fixed_row(d_);
    const float largest = largest_of(space_.scales, count * d_), unit = largest / kMostFixed * kProductUnit;
    for (int64_t i = 0; i < count; ++i)
      to_fixed(space_.scales + i * d_, d_, inverse_unit(largest), space_.fixed_scales + i * row);
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      in_parts<kMostRounded>(group_, [&](auto queries, int64_t q) HWY_ATTR {
        const int16_t* fixed = space_.fixed_queries + q * d_ + c;
        for (int64_t i = 0; i < count; ++i) {
          largest_products<queries>(fixed, d_, n, space_.fixed_scales + i * row + c, rounded(i, piece).steps + q);
        }
        for (int64_t i = 0; i < count; ++i) {
          const Rounded part = rounded(i, piece).from(q);
          find_steps<Kind, queries>(space_.query_units + q, unit, part.steps, space_.narrows);
          round_fixed<Kind, queries>(space_.queries + q * d_ + c, fixed, d_, n, space_.fixed_scales + i * row + c,
                                     space_.centres + i * d_ + c, space_.narrows, numbers(i, c) + q * d_, part,
                                     middle_of(side_));
        }
      });
    });
  }

  const PackedSide& side_;
  const int64_t group_, d_;
  const SplitSpace& space_;
};

// Those that meet turned codes: turned back by their tile, times the units of pairs, rounded.
class TurnedQueries {
 public:
  TurnedQueries(const PackedSide& side, int64_t group, const SplitSpace& space)
      : side_(side),
        group_(group),
        half_(side.head_dim / 2),
        space_(space),
        rounded_(Rounded::in(space.of_queries, whole_lines(group))) {
    if (!side.before_rope || !turns_codes(side)) return;
    const DF d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t q = 0; q < group; ++q) {
      const float* query = space.queries + q * 2 * half_;
      for (int64_t c = 0; c < half_; c += lanes) {
        const auto a = hn::LoadU(d, query + c), b = hn::LoadU(d, query + half_ + c);
        hn::StoreU(hn::Sqrt(hn::MulAdd(a, a, hn::Mul(b, b))), d, space.sizes() + q * half_ + c);
      }
      rounded_.sums[q] = rounded_.wholes[q] = 0;
    }
  }

  // For units f32 [head_dim / 2], less unit_factor().
  HWY_INLINE void find_steps(const float* units) {
    // Where tokens have units, those of pairs are always the same.
    if (side_.span == 1 && found_) return;
    found_ = true;
    in_parts<kMostRounded>(group_, [&](auto queries, int64_t q) HWY_ATTR { find_steps_of<queries>(q, units); });
  }
  // By a position, in the units that steps were found for.
  HWY_INLINE void turn(int64_t position, const float* units) {
    const DF d;
    float space[kLargestHead];
    const float* turn = turn_of(side_, position, space);
    in_parts<kMostRounded>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      const float* x = space_.queries + q * 2 * half_;
      int16_t* out = numbers() + q * 2 * half_;
      VF inverses[queries];
      repeat<queries>([&](auto i) KVPARETO_EXPANDED { inverses[i] = hn::Set(d, space_.inverses[q + i]); });
      for (int64_t c = 0; c < half_; c += static_cast<int64_t>(hn::Lanes(d))) {
        const auto unit = hn::LoadU(d, units + c);
        const auto cosine = hn::Mul(hn::LoadU(d, turn + c), unit), sine = hn::Mul(hn::LoadU(d, turn + half_ + c), unit);
        repeat<queries>([&](auto i) KVPARETO_EXPANDED {
          const auto a = hn::LoadU(d, x + i * 2 * half_ + c), b = hn::LoadU(d, x + i * 2 * half_ + half_ + c);
          const auto first = hn::MulAdd(b, sine, hn::Mul(a, cosine)),
                     second = hn::NegMulAdd(a, sine, hn::Mul(b, cosine));
          ByPairs::store(Nearest(first, inverses[i]).integer(), out + i * 2 * half_, c);
          ByPairs::store(Nearest(second, inverses[i]).integer(), out + i * 2 * half_, half_ + c);
        });
      }
    });
  }

  int16_t* numbers() const { return space_.rounded; }  // [group][head_dim]
  Rounded rounded() const { return rounded_; }

 private:
  // Of kCount queries from one on. A pair's size bounds its numbers wherever it is turned to.
  template <int kCount>
  HWY_INLINE void find_steps_of(int64_t q, const float* units) {
    constexpr float kBothOfPair = 1.41421356f;  // |a| + |b| of a pair of size 1, at most
    extents_of<kCount>(space_.sizes() + q * half_, half_, half_, units, space_.largest, space_.totals);
    // As vectors they would wait for the stores of all extents.
    repeat<kCount>([&](auto i) KVPARETO_EXPANDED {
      const float one = space_.largest[i] / kMostInt16, all = space_.totals[i] * (kBothOfPair / kMostOfQuery);
      const float step = one > all ? one : all;
      space_.inverses[q + i] = step > 0 ? 1 / step : 0.0f;
      rounded_.steps[q + i] = step * unit_factor(side_);
    });
  }

  const PackedSide& side_;
  const int64_t group_, half_;
  const SplitSpace& space_;
  const Rounded rounded_;
  bool found_ = false;
};

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
