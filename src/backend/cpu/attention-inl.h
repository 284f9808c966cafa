// Attention over packed keys and values, tile by tile with a running softmax (arXiv 2205.14135, 2112.05682), one
// instance a Highway target. Included by kernels.cc inside foreach_target, after block_products-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Scores of one tile [keys][rows], in units of log 2, of which `highest` [rows] are the largest, become weights
// 2^(score - maximum); the running maximum, mass and sums are rescaled. `largest` [rows], the largest of scores and
// logs of their keys' factors, becomes that of weights times factors.
HWY_INLINE void soften(float* scores, int64_t keys, int64_t rows, float* maxima, float* masses, float* sums,
                       int64_t head_dim, const float* tile_highest, float* largest) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    const auto before = hn::LoadU(d, maxima + r), highest = hn::Max(before, hn::LoadU(d, tile_highest + r));
    hn::StoreU(power_of_two(d, hn::Sub(hn::LoadU(d, largest + r), highest)), d, largest + r);
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

HWY_NOINLINE void attend_block_by(const RowProducts* by_rows, const AttendJob& job, int64_t kv_head, int64_t begin,
                                  int64_t count, float* scratch) {
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

  BlockProducts products(by_rows, job, kv_head, space);
  const int64_t position = job.first + begin, end = position + count;
  for (int64_t key = 0, keys; key < end; key += keys) {
    keys = tile_tokens(job.keys, key, end);
    products.find_factors(key, keys);
    products.score(key, keys);
    if (key + keys - 1 > position) {
      mask_future(space.scores, keys, block, group, key - position);
      products.find_highest(0, keys, {0, rows});
    }
    soften(space.scores, keys, rows, space.maxima, space.masses, space.sums, head_dim, space.highest, space.largest);
    // Behind the last key: the others of its lane.
    for (int64_t r = 0; r < 3 * rows; ++r) space.scores[keys * rows + r] = 0;
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

void attend_block(const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch) {
  attend_block_by(nullptr, job, kv_head, begin, count, scratch);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
