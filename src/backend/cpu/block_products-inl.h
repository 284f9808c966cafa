// Scores and weighted sums of many queries, a tile of keys at a time; one instance a Highway target. Included by
// kernels.cc after exact_rows-inl.h.
//
// Query rows stand in the vector lanes: a tile of keys is unpacked once for a block of rows and enters as broadcasts,
// and neither scores nor sums need a transpose or a sum across lanes.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// c[i * stride + r] (+)= sum over j < n of a[i * step_i + j * step_j] * b[j * rows + r], for kOut values of i and
// kVectors of r.
template <int kOut, int kVectors>
HWY_INLINE void multiply_part(const float* a, int64_t step_i, int64_t step_j, int64_t n, const float* b, int64_t rows,
                              float* c, int64_t stride, bool accumulate) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sums[kOut][kVectors];
  for (int i = 0; i < kOut; ++i) {
    for (int v = 0; v < kVectors; ++v) sums[i][v] = accumulate ? hn::LoadU(d, c + i * stride + v * lanes) : hn::Zero(d);
  }
  for (int64_t j = 0; j < n; ++j) {
    VF in[kVectors];
    for (int v = 0; v < kVectors; ++v) in[v] = hn::LoadU(d, b + j * rows + v * lanes);
    for (int i = 0; i < kOut; ++i) {
      const auto factor = hn::Set(d, a[i * step_i + j * step_j]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(factor, in[v], sums[i][v]);
    }
  }
  for (int i = 0; i < kOut; ++i) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[i][v], d, c + i * stride + v * lanes);
  }
}

// The same for `out` values of i (a multiple of 8) and all rows (a multiple of kRowMultiple).
HWY_INLINE void multiply(const float* a, int64_t step_i, int64_t step_j, int64_t n, const float* b, int64_t out,
                         float* c, int64_t rows, bool accumulate) {
  // Sums fill the register file: 24 of 32 vector registers, or 12 of 16.
  constexpr int kOut = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t i = 0; i < out; i += kOut) {
    const float* from = a + i * step_i;
    float* to = c + i * rows;
    int64_t r = 0;
    for (; r + 3 * lanes <= rows; r += 3 * lanes) {
      multiply_part<kOut, 3>(from, step_i, step_j, n, b + r, rows, to + r, rows, accumulate);
    }
    for (; r < rows; r += lanes) multiply_part<kOut, 1>(from, step_i, step_j, n, b + r, rows, to + r, rows, accumulate);
  }
}

// The codes of a tile as Kind multiplies them.
template <typename Kind>
HWY_INLINE void unpack_for(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int16_t* tile) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (Kind::kEach == kFour) return unpack_tile_fours(side, block, place, count, tile);
#endif
  unpack_tile(side, block, place, count, tile);
}

// largest[r] = the largest of |x[j][r] factors[j]|, j < n.
HWY_INLINE void largest_of_rows(const float* x, int64_t n, int64_t rows, const float* factors, float* largest) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    auto most = hn::Zero(d);
    for (int64_t j = 0; j < n; ++j)
      most = hn::Max(most, hn::Abs(hn::Mul(hn::LoadU(d, x + j * rows + r), hn::Set(d, factors[j]))));
    hn::StoreU(most, d, largest + r);
  }
}

// x f32 [n][rows], one number a lane, times factors [n], of which none is above `largest` [rows] times `more`, as Kind
// multiplies them: int16 [n / 2][rows][2] or bytes [n / 4][rows][4]; sums with centres [n]. Rounded steps may be
// `largest`.
template <typename Kind>
HWY_INLINE void round_rows(const float* x, int64_t n, int64_t rows, const float* factors, const float* centres,
                           const float* largest, float more, int16_t* out, const Rounded& rounded) {
  const DF d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Pairs ones = pairs_of(hn::Set(di, Kind::kLaneOfOnes));
  for (int64_t r = 0; r < rows; r += lanes) {
    const auto most = hn::Mul(hn::LoadU(d, largest + r), hn::Set(d, more));
    const auto step = hn::Mul(most, hn::Set(d, 1 / Kind::kMost));
    const auto inverse = hn::IfThenElseZero(hn::Gt(most, hn::Zero(d)), hn::Div(hn::Set(d, Kind::kMost), most));
    // Even and odd numbers apart: an addition takes several cycles.
    VF sum[2] = {hn::Zero(d), hn::Zero(d)};
    Sums whole = {};
    const auto number = [&](int64_t j, auto odd) KVPARETO_EXPANDED {
      const auto given = hn::LoadU(d, x + j * rows + r);
      sum[odd] = hn::MulAdd(given, hn::Set(d, centres[j]), sum[odd]);
      return Nearest(hn::Mul(given, hn::Set(d, factors[j])), inverse).lower_half();
    };
    constexpr std::integral_constant<int, 0> kEven;
    constexpr std::integral_constant<int, 1> kOdd;
    for (int64_t j = 0; j < n; j += Kind::kEach) {
      const auto first = number(j, kEven), second = number(j + 1, kOdd);
      auto lane = hn::Or(hn::And(first, hn::Set(di, 0xffff)), hn::ShiftLeft<16>(second));
      if constexpr (Kind::kEach == 4) {
        const auto third = hn::ShiftLeft<16>(number(j + 2, kEven)), fourth = hn::ShiftLeft<24>(number(j + 3, kOdd));
        lane = hn::OrAnd(hn::And(first, hn::Set(di, 0xff)), hn::ShiftLeft<8>(second), hn::Set(di, 0xff00));
        lane = hn::Or(hn::OrAnd(lane, third, hn::Set(di, 0xff0000)), fourth);
      }
      hn::StoreU(lane, di, reinterpret_cast<int32_t*>(out) + j / Kind::kEach * rows + r);
      whole = Kind::add(pairs_of(lane), ones, whole);
    }
    hn::StoreU(step, d, rounded.steps + r);
    hn::StoreU(hn::Add(sum[0], sum[1]), d, rounded.sums + r);
    hn::StoreU(hn::Mul(step, hn::ConvertTo(d, lanes_of(whole))), d, rounded.wholes + r);
  }
}

// Codes broadcast, x in the lanes: c[i][r] (+)= scale[i] sum(x[r] (code[i] - middle)) + centre[i] sum[r], for kOut
// codes of each of `steps` lanes and kVectors of rows. Arrays of `rounded` run along the lanes, those of `affine` along
// i.
template <typename Kind, int kOut, int kVectors>
HWY_INLINE void add_products_part(const int16_t* codes, int64_t step_p, int64_t steps, const Affine& affine,
                                  const int16_t* x, const Rounded& rounded, int64_t r, int64_t rows, bool accumulate,
                                  float* c) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VI sums[kOut][kVectors];
  multiply_lanes<Kind>(codes, 2, step_p, steps, PairRows{x + 2 * r, 2 * rows}, sums);
#pragma GCC unroll 3
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = r + v * lanes;
    const auto step = hn::LoadU(d, rounded.steps + at), sum = hn::LoadU(d, rounded.sums + at);
    const auto middle = hn::Mul(hn::LoadU(d, rounded.wholes + at), hn::Set(d, -affine.middle));
#pragma GCC unroll 8
    for (int i = 0; i < kOut; ++i) {
      float* place = c + i * rows + at;
      auto total = hn::Mul(hn::Set(d, affine.centres[i]), sum);
      if (accumulate) total = hn::Add(total, hn::LoadU(d, place));
      const auto products = hn::MulAdd(hn::ConvertTo(d, sums[i][v]), step, middle);
      hn::StoreU(hn::MulAdd(products, hn::Set(d, affine.scales[i]), total), d, place);
    }
  }
}

// The same for `out` codes, rounded up to kOut, and all rows (a multiple of kRowMultiple).
template <typename Kind>
HWY_INLINE void add_all_products(const int16_t* codes, int64_t step_p, int64_t steps, const Affine& affine,
                                 const int16_t* x, const Rounded& rounded, int64_t rows, int64_t out, bool accumulate,
                                 float* c) {
  constexpr int kOut = HWY_TARGET <= HWY_AVX3 ? 8 : 4, kVectors = HWY_TARGET <= HWY_AVX3 ? 3 : 2;
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t i = 0; i < out; i += kOut) {
    const Affine part{affine.scales + i, affine.centres + i, affine.middle};
    const int16_t* from = codes + 2 * i;
    int64_t r = 0;
    for (; r + kVectors * lanes <= rows; r += kVectors * lanes)
      add_products_part<Kind, kOut, kVectors>(from, step_p, steps, part, x, rounded, r, rows, accumulate, c + i * rows);
    for (; r < rows; r += lanes)
      add_products_part<Kind, kOut, 1>(from, step_p, steps, part, x, rounded, r, rows, accumulate, c + i * rows);
  }
}

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
  float* largest;     // [rows]: weights of the tile
  float* scales;      // [kTile] or [head_dim]
  float* centres;     // the same
  int16_t* rounded;   // queries [head_dim / 2][rows][2], or by fours
  int16_t* weights;   // [kTile / 2][rows][2], or by fours
  float* of_queries;  // [pieces][3][rows]
  float* of_weights;  // [3][rows]

  BlockSpace(float* scratch, int64_t rows, int64_t d) : next(scratch) {
    queries = take(rows * d);
    sums = take(rows * d);
    scores = take((kTile + 8) * rows);
    tile = take((kTile + 8) * d);
    maxima = take(rows);
    masses = take(rows);
    largest = take(rows);
    scales = take(d + kTile);
    centres = take(d + kTile);
    rounded = reinterpret_cast<int16_t*>(take(rows * d / 2));
    weights = reinterpret_cast<int16_t*>(take(kTile / 2 * rows));
    of_queries = take(3 * most_pieces(d) * rows);
    of_weights = take(3 * rows);
  }
  float* take(int64_t count) {
    float* part = next;
    next += count;
    return part;
  }
  int16_t* codes() const { return reinterpret_cast<int16_t*>(tile); }
  bf16* rounded_queries() const { return reinterpret_cast<bf16*>(rounded); }  // instead, as RowProducts has them
};

// Many queries of one kv head against its keys and values, a tile at a time: tokens read as codes are multiplied as
// codes, the others are decoded. `by_rows`, or null, multiplies keys that are decoded and bear it.
class BlockProducts {
 public:
  BlockProducts(const RowProducts* by_rows, const AttendJob& job, int64_t kv_head, const BlockSpace& space)
      : by_rows_(bear_bf16(job.keys) ? by_rows : nullptr),
        job_(job),
        head_(kv_head),
        d_(job.head_dim),
        rows_(int64_t{job.queries_per_block} * job.group()),
        space_(space) {
    if (by_rows_ != nullptr) by_rows_->round_queries(space.queries, d_, rows_, space.rounded_queries());
  }

  // scores [count][rows]
  HWY_INLINE void score(int64_t token, int64_t count) {
    const PackedSide& side = job_.keys;
    const int64_t packed = has_codes(side) ? packed_count(side, token, count) : 0;
    if (packed > 0)
      with_kind<false>(side,
                       [&](auto kind) HWY_ATTR { score_codes<decltype(kind)>(side, token - side.sinks, packed); });
    if (packed == count) return;
    const int64_t left = count - packed, padded = (left + 7) / 8 * 8;
    for (int64_t i = left * d_; i < padded * d_; ++i) space_.tile[i] = 0;
    decode(side, head_, token + packed, left, space_.tile);
    if (by_rows_ != nullptr)
      return by_rows_->score(space_.tile, padded, space_.rounded_queries(), d_, rows_, space_.scores);
    multiply(space_.tile, d_, 1, d_, space_.queries, padded, space_.scores + packed * rows_, rows_, false);
  }

  // sums [head_dim][rows] += weights times values
  HWY_INLINE void add(int64_t token, int64_t count) {
    const PackedSide& side = job_.values;
    const int64_t packed = packed_count(side, token, count);
    if (packed > 0)
      with_kind<true>(side, [&](auto kind) HWY_ATTR { add_codes<decltype(kind)>(side, token - side.sinks, packed); });
    if (packed == count) return;
    decode(side, head_, token + packed, count - packed, space_.tile);
    multiply(space_.tile, 1, d_, count - packed, space_.scores + packed * rows_, d_, space_.sums, rows_, true);
  }

 private:
  // Whether what RowProducts rounds is less than what keys are off by.
  static HWY_INLINE bool bear_bf16(const PackedSide& keys) {
    return keys.before_rope ? keys.levels() <= kMostOfFours : keys.codec == Codec::kBf16;
  }
  // Whether keys are multiplied as codes.
  static HWY_INLINE bool has_codes(const PackedSide& keys) { return !keys.before_rope && keys.codec != Codec::kBf16; }

  HWY_INLINE Rounded rounded_at(float* all, int64_t piece) const { return Rounded::in(all + 3 * piece * rows_, rows_); }

  template <typename Kind>
  HWY_INLINE void round_queries(const PackedSide& side, const void* fits, const float* factors, const float* centres,
                                int64_t stride) {
    if (fits == folded_) return;
    folded_ = fits;
    each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      const Rounded rounded = rounded_at(space_.of_queries, piece);
      const float* queries = space_.queries + c * rows_;
      largest_of_rows(queries, n, rows_, factors + c * stride, rounded.steps);
      round_rows<Kind>(queries, n, rows_, factors + c * stride, centres + c * stride, rounded.steps, 1,
                       space_.rounded + c / Kind::kEach * 2 * rows_, rounded);
    });
  }

  template <typename Kind>
  HWY_INLINE void score_codes(const PackedSide& side, int64_t token, int64_t count) {
    const uint8_t* block = side.block(head_, token);
    const int64_t place = token % side.block_tokens;
    const float middle = middle_of(side);
    unpack_for<Kind>(side, block, place, count, space_.codes());
    const auto add = [&](int64_t first, int64_t tokens, int64_t piece, int64_t c, int64_t n, const float* scales,
                         const float* centres) HWY_ATTR {
      const int64_t row = c / Kind::kEach;
      add_all_products<Kind>(space_.codes() + (row * kTile + first) * 2, 2 * kTile, n / Kind::kEach,
                             {scales, centres, middle}, space_.rounded + row * 2 * rows_,
                             rounded_at(space_.of_queries, piece), rows_, tokens, piece > 0,
                             space_.scores + first * rows_);
    };
    if (side.span == 1) {
      round_queries<Kind>(side, &side, kOnes.ones, kOnes.ones, 0);
      each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
        token_centres(side, block, place, count, static_cast<int>(c / side.group), space_.scales, space_.centres);
        add(0, count, piece, c, n, space_.scales, space_.centres);
      });
      return;
    }
    for (int64_t t = 0; t < count;) {
      const int64_t tokens = span_tokens(side, place + t, count - t);
      channel_centres(side, block, place + t, space_.scales, space_.centres);
      round_queries<Kind>(side,
                          side.span == 0 ? static_cast<const void*>(side.whole) : scales_of(side, block, place + t, 0),
                          space_.scales, space_.centres, 1);
      each_piece(side, [&](int64_t piece, int64_t c, int64_t n)
                           HWY_ATTR { add(t, tokens, piece, c, n, kOnes.ones, kOnes.ones); });
      t += tokens;
    }
  }

  template <typename Kind>
  HWY_INLINE void add_codes(const PackedSide& side, int64_t token, int64_t count) {
    constexpr int64_t kEach = Kind::kEach;
    const uint8_t* block = side.block(head_, token);
    const int64_t place = token % side.block_tokens;
    const float middle = middle_of(side);
    unpack_for<Kind>(side, block, place, count, space_.codes());
    const Rounded rounded = rounded_at(space_.of_weights, 0);
    // Steps are of the largest weight at the largest scale, as in a decode step.
    const auto round = [&](int64_t first, int64_t tokens, const float* scales, const float* centres) HWY_ATTR {
      const int64_t n = (tokens + kEach - 1) / kEach * kEach;
      const float most = largest_of(scales, (n + kLanes - 1) / kLanes * kLanes);
      round_rows<Kind>(space_.scores + first * rows_, n, rows_, scales, centres, space_.largest, most, space_.weights,
                       rounded);
    };
    const auto add = [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales, const float* centres)
                         HWY_ATTR {
                           add_all_products<Kind>(space_.codes() + (first / kEach * d_ + c) * 2, 2 * d_,
                                                  (tokens + kEach - 1) / kEach, {scales, centres, middle},
                                                  space_.weights, rounded, rows_, n, true, space_.sums + c * rows_);
                         };
    add_values(side, block, place, count, space_.scales, space_.centres, round, add);
  }

  const RowProducts* by_rows_;
  const AttendJob& job_;
  const int64_t head_, d_, rows_;
  const BlockSpace& space_;
  const void* folded_ = nullptr;
};

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
