// Attention over packed keys and values, tile by tile with a running softmax (arXiv 2205.14135, 2112.05682), one
// instance a Highway target. Included by kernels.cc inside foreach_target, after products-inl.h.
//
// Prefill keeps query rows in the vector lanes: a tile of keys is unpacked once for a block of rows and enters as
// broadcasts, and neither scores nor sums need a transpose or a sum across lanes. Both products are then one kernel.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

constexpr float kMasked = -1e30f;  // far below any score, and its power is 0 without a NaN

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

// Scores of one tile [keys][rows], in units of log 2, become weights 2^(score - maximum); the running maximum, mass and
// sums are rescaled.
HWY_INLINE void soften(float* scores, int64_t keys, int64_t rows, float* maxima, float* masses, float* sums,
                       int64_t head_dim) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    const auto before = hn::LoadU(d, maxima + r);
    auto highest = before;
    for (int64_t k = 0; k < keys; ++k) highest = hn::Max(highest, hn::LoadU(d, scores + k * rows + r));
    auto mass = hn::Zero(d);
    for (int64_t k = 0; k < keys; ++k) {
      const auto p = power_of_two(d, hn::Sub(hn::LoadU(d, scores + k * rows + r), highest));
      mass = hn::Add(mass, p);
      hn::StoreU(p, d, scores + k * rows + r);
    }
    const auto shrink = power_of_two(d, hn::Sub(before, highest));
    hn::StoreU(highest, d, maxima + r);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, masses + r), shrink, mass), d, masses + r);
    if (hn::AllTrue(d, hn::Eq(before, highest))) continue;
    for (int64_t c = 0; c < head_dim; ++c) {
      hn::StoreU(hn::Mul(hn::LoadU(d, sums + c * rows + r), shrink), d, sums + c * rows + r);
    }
  }
}

// Keys after a row's own position count for nothing. Row = head in group * block + token; `ahead` is the position of
// the tile's first key less that of the block's first query.
HWY_INLINE void mask_future(float* scores, int64_t keys, int64_t block, int64_t group, int64_t ahead) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t rows = block * group;
  for (int64_t k = 0; k < keys; ++k) {
    const auto key = hn::Set(d, static_cast<float>(ahead + k));
    for (int64_t r = 0; r < rows; r += lanes) {
      const auto query = hn::Iota(d, static_cast<float>(r % block));
      const auto score = hn::LoadU(d, scores + k * rows + r);
      hn::StoreU(hn::IfThenElse(hn::Gt(key, query), hn::Set(d, kMasked), score), d, scores + k * rows + r);
    }
  }
}

// The scratch of one attend_block; block_scratch() is its size.
struct BlockSpace {
  float* next;
  float* queries;     // [head_dim][rows], times log2(e) / sqrt(head_dim)
  float* sums;        // [head_dim][rows]
  float* scores;      // [kTile + 8][rows], then weights
  float* tile;        // [kTile + 8][head_dim] f32, or its codes as unpack_tile()
                      // leaves them
  float* maxima;      // [rows]
  float* masses;      // [rows]
  float* scales;      // [kTile] or [head_dim]
  float* minimums;    // the same
  int16_t* rounded;   // queries [head_dim / 2][rows][2]
  int16_t* weights;   // [kTile / 2][rows][2]
  float* of_queries;  // [pieces][3][rows]
  float* of_weights;  // [3][rows]

  BlockSpace(float* scratch, int64_t rows, int64_t d) : next(scratch) {
    queries = take(rows * d);
    sums = take(rows * d);
    scores = take((kTile + 8) * rows);
    tile = take((kTile + 8) * d);
    maxima = take(rows);
    masses = take(rows);
    scales = take(d + kTile);
    minimums = take(d + kTile);
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
};

// Many queries of one kv head against its keys and values, a tile at a time: tokens read as codes are multiplied as
// codes, the others are decoded.
class BlockProducts {
 public:
  BlockProducts(const AttendJob& job, int64_t kv_head, const BlockSpace& space)
      : job_(job),
        head_(kv_head),
        d_(job.head_dim),
        rows_(int64_t{job.queries_per_block} * job.group()),
        space_(space) {}

  // scores [count][rows]
  HWY_INLINE void score(int64_t token, int64_t count) {
    const PackedSide& side = job_.keys;
    const int64_t packed = side.before_rope ? 0 : packed_count(side, token, count);
    if (packed > 0) score_codes(side, token - side.sinks, packed);
    if (packed == count) return;
    const int64_t left = count - packed, padded = (left + 7) / 8 * 8;
    for (int64_t i = left * d_; i < padded * d_; ++i) space_.tile[i] = 0;
    decode(side, head_, token + packed, left, space_.tile);
    multiply(space_.tile, d_, 1, d_, space_.queries, padded, space_.scores + packed * rows_, rows_, false);
  }

  // sums [head_dim][rows] += weights times values
  HWY_INLINE void add(int64_t token, int64_t count) {
    const PackedSide& side = job_.values;
    const int64_t packed = packed_count(side, token, count);
    if (packed > 0) add_codes(side, token - side.sinks, packed);
    if (packed == count) return;
    decode(side, head_, token + packed, count - packed, space_.tile);
    multiply(space_.tile, 1, d_, count - packed, space_.scores + packed * rows_, d_, space_.sums, rows_, true);
  }

 private:
  HWY_INLINE RoundedRows rounded_at(float* all, int64_t piece) const {
    float* at = all + 3 * piece * rows_;
    return {at, at + rows_, at + 2 * rows_};
  }

  HWY_INLINE void round_queries(const PackedSide& side, const void* fits, const float* factors, const float* lows,
                                int64_t stride) {
    if (fits == folded_) return;
    folded_ = fits;
    each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      round_rows(space_.queries + c * rows_, n, rows_, factors + c * stride, lows + c * stride,
                 space_.rounded + c * rows_, rounded_at(space_.of_queries, piece));
    });
  }

  HWY_INLINE void score_codes(const PackedSide& side, int64_t token, int64_t count) {
    const uint8_t* block = side.block(head_, token);
    const int64_t place = token % side.block_tokens;
    const float middle = middle_of(side);
    unpack_tile(side, block, place, count, space_.codes());
    const auto add = [&](int64_t first, int64_t tokens, int64_t piece, int64_t c, int64_t n, const float* scales,
                         const float* minimums) HWY_ATTR {
      add_all_products(space_.codes() + (c / 2 * kTile + first) * 2, 2 * kTile, n / 2, {scales, minimums, middle},
                       space_.rounded + c * rows_, rounded_at(space_.of_queries, piece), rows_, tokens, piece > 0,
                       space_.scores + first * rows_);
    };
    if (side.span == 1) {
      round_queries(side, &side, kOnes.ones, kOnes.ones, 0);
      each_piece(side, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
        token_fits(side, block, place, count, static_cast<int>(c / side.group), space_.scales, space_.minimums);
        add(0, count, piece, c, n, space_.scales, space_.minimums);
      });
      return;
    }
    for (int64_t t = 0; t < count;) {
      const int64_t tokens = span_tokens(side, place + t, count - t);
      channel_fits(side, block, place + t, space_.scales, space_.minimums);
      round_queries(side, side.span == 0 ? static_cast<const void*>(side.whole) : scales_of(side, block, place + t, 0),
                    space_.scales, space_.minimums, 1);
      each_piece(side, [&](int64_t piece, int64_t c, int64_t n)
                           HWY_ATTR { add(t, tokens, piece, c, n, kOnes.ones, kOnes.ones); });
      t += tokens;
    }
  }

  HWY_INLINE void add_codes(const PackedSide& side, int64_t token, int64_t count) {
    const uint8_t* block = side.block(head_, token);
    const int64_t place = token % side.block_tokens;
    const float middle = middle_of(side);
    unpack_tile(side, block, place, count, space_.codes());
    const RoundedRows rounded = rounded_at(space_.of_weights, 0);
    const auto round = [&](int64_t first, int64_t tokens, const float* scales, const float* minimums) HWY_ATTR {
      round_rows(space_.scores + first * rows_, (tokens + 1) / 2 * 2, rows_, scales, minimums, space_.weights, rounded);
    };
    const auto add = [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales,
                         const float* minimums) HWY_ATTR {
      add_all_products(space_.codes() + (first / 2 * d_ + c) * 2, 2 * d_, (tokens + 1) / 2, {scales, minimums, middle},
                       space_.weights, rounded, rows_, n, true, space_.sums + c * rows_);
    };
    add_values(side, block, place, count, space_.scales, space_.minimums, round, add);
  }

  const AttendJob& job_;
  const int64_t head_, d_, rows_;
  const BlockSpace& space_;
  const void* folded_ = nullptr;
};

void attend_block(const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch) {
  const int64_t head_dim = job.head_dim, group = job.group(), block = job.queries_per_block, rows = block * group;
  const BlockSpace space(scratch, rows, head_dim);
  const float scale = kLog2E / __builtin_sqrtf(static_cast<float>(head_dim));
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t t = 0; t < block; ++t) {
      const float* query = job.queries.row<float>(begin + (t < count ? t : 0)) + (kv_head * group + g) * head_dim;
      const float factor = t < count ? scale : 0.0f;
      for (int64_t c = 0; c < head_dim; ++c) space.queries[c * rows + g * block + t] = query[c] * factor;
    }
  }
  for (int64_t i = 0; i < rows * head_dim; ++i) space.sums[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    space.maxima[r] = kMasked;
    space.masses[r] = 0;
  }

  BlockProducts products(job, kv_head, space);
  const int64_t position = job.first + begin, end = position + count;
  for (int64_t key = 0, keys; key < end; key += keys) {
    keys = tile_tokens(job.keys, key, end);
    products.score(key, keys);
    if (key + keys - 1 > position) mask_future(space.scores, keys, block, group, key - position);
    soften(space.scores, keys, rows, space.maxima, space.masses, space.sums, head_dim);
    // Behind the last key: the other token of its pair.
    for (int64_t r = 0; r < rows; ++r) space.scores[keys * rows + r] = 0;
    products.add(key, keys);
  }

  for (int64_t g = 0; g < group; ++g) {
    for (int64_t t = 0; t < count; ++t) {
      const float inverse = 1.0f / space.masses[g * block + t];
      for (int64_t c = 0; c < head_dim; ++c) space.tile[c] = space.sums[c * rows + g * block + t] * inverse;
      finish_row(job, begin + t, kv_head * group + g, space.tile);
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
