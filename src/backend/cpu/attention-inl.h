// Attention over packed keys and values, tile by tile with a running softmax (arXiv 2205.14135, 2112.05682), one
// instance a Highway target. Included by kernels.cc inside foreach_target, after products-inl.h.
//
// Prefill keeps query rows in the vector lanes: a tile of keys is decoded once for a block of rows, its values enter as
// broadcasts, and neither scores nor sums need a transpose or a sum across lanes. Both products are then one kernel.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

constexpr float kMasked = -1e30f;  // far below any score, and its exp is 0 without a NaN

// c[i][r] (+)= sum over j < n of a[i * step_i + j * step_j] * b[j * rows + r], for kOut values of i and kVectors of r.
template <int kOut, int kVectors>
HWY_INLINE void multiply_part(const float* a, int64_t step_i, int64_t step_j, int64_t n, const float* b, float* c,
                              int64_t rows, bool accumulate) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sums[kOut][kVectors];
  for (int i = 0; i < kOut; ++i) {
    for (int v = 0; v < kVectors; ++v) sums[i][v] = accumulate ? hn::LoadU(d, c + i * rows + v * lanes) : hn::Zero(d);
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
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[i][v], d, c + i * rows + v * lanes);
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
      multiply_part<kOut, 3>(from, step_i, step_j, n, b + r, to + r, rows, accumulate);
    }
    for (; r < rows; r += lanes) multiply_part<kOut, 1>(from, step_i, step_j, n, b + r, to + r, rows, accumulate);
  }
}

// Scores of one tile [keys][rows] become weights exp(score - maximum); the running maximum, mass and sums are rescaled.
HWY_INLINE void soften(float* scores, int64_t keys, int64_t rows, float* maxima, float* masses, float* sums,
                       int64_t head_dim) {
  const DF d;
  for (int64_t r = 0; r < rows; r += static_cast<int64_t>(hn::Lanes(d))) {
    const auto before = hn::LoadU(d, maxima + r);
    auto highest = before;
    for (int64_t k = 0; k < keys; ++k) highest = hn::Max(highest, hn::LoadU(d, scores + k * rows + r));
    auto mass = hn::Zero(d);
    for (int64_t k = 0; k < keys; ++k) {
      const auto p = hn::Exp(d, hn::Sub(hn::LoadU(d, scores + k * rows + r), highest));
      mass = hn::Add(mass, p);
      hn::StoreU(p, d, scores + k * rows + r);
    }
    const auto shrink = hn::Exp(d, hn::Sub(before, highest));
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

void attend_block(const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch) {
  const int64_t head_dim = job.head_dim, group = job.group(), block = job.queries_per_block, rows = block * group;
  float* queries = scratch;  // [head_dim][rows]
  float* sums = queries + rows * head_dim;
  float* tile = sums + rows * head_dim;  // [kTile][head_dim]: keys, then values
  float* scores = tile + 2 * kTile * head_dim;
  float* maxima = scores + kTile * rows;
  float* masses = maxima + rows;

  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head_dim));
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t t = 0; t < block; ++t) {
      const float* query = job.queries.row<float>(begin + (t < count ? t : 0)) + (kv_head * group + g) * head_dim;
      const float factor = t < count ? scale : 0.0f;
      for (int64_t c = 0; c < head_dim; ++c) queries[c * rows + g * block + t] = query[c] * factor;
    }
  }
  for (int64_t i = 0; i < rows * head_dim; ++i) sums[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    maxima[r] = kMasked;
    masses[r] = 0;
  }

  const int64_t position = job.first + begin, end = position + count;
  for (int64_t key = 0; key < end; key += kTile) {
    const int64_t keys = end - key < kTile ? end - key : kTile, padded = (keys + 7) / 8 * 8;
    for (int64_t i = keys * head_dim; i < padded * head_dim; ++i) tile[i] = 0;
    decode(job.keys, kv_head, key, keys, tile);
    multiply(tile, head_dim, 1, head_dim, queries, padded, scores, rows, false);
    if (key + keys - 1 > position) mask_future(scores, keys, block, group, key - position);
    soften(scores, keys, rows, maxima, masses, sums, head_dim);
    decode(job.values, kv_head, key, keys, tile);
    multiply(tile, 1, head_dim, keys, scores, head_dim, sums, rows, true);
  }

  for (int64_t g = 0; g < group; ++g) {
    for (int64_t t = 0; t < count; ++t) {
      const float inverse = 1.0f / masses[g * block + t];
      for (int64_t c = 0; c < head_dim; ++c) tile[c] = sums[c * rows + g * block + t] * inverse;
      finish_row(job, begin + t, kv_head * group + g, tile);
    }
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
