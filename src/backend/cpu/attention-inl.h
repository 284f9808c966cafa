// Attention over packed keys and values, tile by tile with a running softmax (arXiv 2205.14135, 2112.05682), one
// instance a Highway target. Included by kernels.cc inside foreach_target, after packing-inl.h.
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

// Sums of the lanes of four vectors.
HWY_INLINE void sum_four(VF a, VF b, VF c, VF e, float* out) {
#if HWY_TARGET == HWY_SCALAR
  const VF all[4] = {a, b, c, e};
  for (int i = 0; i < 4; ++i) out[i] = hn::GetLane(all[i]);
#else
  const DF d;
  // Neighbouring lanes are added until each of the four has one left.
  const auto halve = [&](VF low, VF high)
                         HWY_ATTR { return hn::Add(hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low)); };
  VF sums = halve(halve(a, b), halve(c, e));
  for (size_t lanes = hn::Lanes(d); lanes > 4; lanes /= 2) sums = halve(sums, sums);
  hn::StoreU(hn::LowerHalf(hn::Half<DF>(), sums), hn::Half<DF>(), out);
#endif
}

// scores[q][k] = dot(queries[q], tile[k]) for kQueries queries and all keys; up to 3 keys past the last are scored too.
template <int kQueries>
HWY_INLINE void score_tile(const float* queries, const float* tile, int64_t keys, int64_t head_dim, float* scores) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < keys; k += 4) {
    VF sums[kQueries][4];
    for (int q = 0; q < kQueries; ++q) {
      for (int i = 0; i < 4; ++i) sums[q][i] = hn::Zero(d);
    }
    for (int64_t c = 0; c < head_dim; c += lanes) {
      VF query[kQueries];
      for (int q = 0; q < kQueries; ++q) query[q] = hn::LoadU(d, queries + q * head_dim + c);
      for (int i = 0; i < 4; ++i) {
        const auto key = hn::LoadU(d, tile + (k + i) * head_dim + c);
        for (int q = 0; q < kQueries; ++q) sums[q][i] = hn::MulAdd(query[q], key, sums[q][i]);
      }
    }
    HWY_ALIGN float four[hn::MaxLanes(DF()) < 4 ? 4 : hn::MaxLanes(DF())];
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
      sum_four(sums[q][0], sums[q][1], sums[q][2], sums[q][3], four);
      for (int i = 0; i < 4; ++i) scores[q * kTile + k + i] = four[i];
    }
  }
}

// sums[q][c] += sum over k of weights[q][k] * tile[k][c] for kQueries queries.
template <int kQueries>
HWY_INLINE void add_weighted(const float* weights, const float* tile, int64_t keys, int64_t head_dim, float* sums) {
  // Enough sums that none waits for the one before; a head is a multiple of 32 channels.
  constexpr int kMost = 32 / static_cast<int>(hn::MaxLanes(DF()));
  constexpr int kVectors = kQueries < 3 && kMost >= 4 ? 4 : 2;
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < head_dim; c += kVectors * lanes) {
    VF sum[kQueries][kVectors];
    for (int q = 0; q < kQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) sum[q][v] = hn::LoadU(d, sums + q * head_dim + c + v * lanes);
    }
    for (int64_t k = 0; k < keys; ++k) {
      VF value[kVectors];
      for (int v = 0; v < kVectors; ++v) value[v] = hn::LoadU(d, tile + k * head_dim + c + v * lanes);
      for (int q = 0; q < kQueries; ++q) {
        const auto weight = hn::Set(d, weights[q * kTile + k]);
        for (int v = 0; v < kVectors; ++v) sum[q][v] = hn::MulAdd(weight, value[v], sum[q][v]);
      }
    }
    for (int q = 0; q < kQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[q][v], d, sums + q * head_dim + c + v * lanes);
    }
  }
}

// Calls body(queries, first) with a compile-time number of them until the whole group is done: three share each load of
// a key or value, and four by three sums are what sixteen registers hold. A query left alone would wait for its own
// sums.
template <typename Body>
HWY_INLINE void by_three(int64_t group, Body body) {
  for (int64_t g = 0; g < group;) {
    const int64_t left = group - g;
    if (left == 1) {
      body(std::integral_constant<int, 1>(), g);
      return;
    }
    if (left == 2 || left == 4) {
      body(std::integral_constant<int, 2>(), g);
      g += 2;
    } else {
      body(std::integral_constant<int, 3>(), g);
      g += 3;
    }
  }
}

// Scores of one query, scaled, become weights; its running maximum, mass and sums are rescaled.
HWY_INLINE void soften_row(float* row, int64_t keys, float scale, int64_t head_dim, float& maximum, float& mass,
                           float* sum) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = keys; k < (keys + lanes - 1) / lanes * lanes; ++k) row[k] = kMasked;
  auto highest = hn::Set(d, maximum);
  const auto factor = hn::Set(d, scale);
  for (int64_t k = 0; k < keys; k += lanes) {
    const auto score = hn::Mul(hn::LoadU(d, row + k), factor);
    hn::StoreU(score, d, row + k);
    highest = hn::Max(highest, score);
  }
  const float before = maximum;
  maximum = hn::GetLane(hn::MaxOfLanes(d, highest));
  auto total = hn::Zero(d);
  for (int64_t k = 0; k < keys; k += lanes) {
    const auto p = hn::Exp(d, hn::Sub(hn::LoadU(d, row + k), hn::Set(d, maximum)));
    hn::StoreU(p, d, row + k);
    total = hn::Add(total, p);
  }
  const float shrink = maximum > before ? hn::GetLane(hn::Exp(d, hn::Set(d, before - maximum))) : 1.0f;
  mass = mass * shrink + hn::GetLane(hn::SumOfLanes(d, total));
  if (shrink == 1.0f) return;
  for (int64_t c = 0; c < head_dim; c += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, sum + c), hn::Set(d, shrink)), d, sum + c);
  }
}

void attend_split(const AttendJob& job, int64_t kv_head, int64_t query, int64_t from, int64_t to, float* partial,
                  float* scratch) {
  const int64_t head_dim = job.head_dim, group = job.group();
  float* tile = scratch;  // [kTile][head_dim]
  float* scores = tile + kTile * head_dim;
  float* turned = scores + kTile * group;  // [group][head_dim]
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head_dim));
  const float* const given = job.queries.row<float>(query) + kv_head * group * head_dim;
  const float* const queries = job.keys.before_rope ? turned : given;
  float* maxima = partial;
  float* masses = partial + group;
  float* sums = partial + 2 * group;
  for (int64_t g = 0; g < group; ++g) {
    maxima[g] = kMasked;
    masses[g] = 0;
  }
  for (int64_t i = 0; i < group * head_dim; ++i) sums[i] = 0;

  for (int64_t key = from; key < to; key += kTile) {
    const int64_t keys = to - key < kTile ? to - key : kTile;
    decode_in_tile(job.keys, kv_head, key, keys, tile);
    for (int64_t g = 0; job.keys.before_rope && g < group; ++g) {
      turn_back(job.keys, key, given + g * head_dim, turned + g * head_dim);
    }
    by_three(group, [&](auto count, int64_t g) HWY_ATTR {
      score_tile<count>(queries + g * head_dim, tile, keys, head_dim, scores + g * kTile);
    });
    decode(job.values, kv_head, key, keys, tile);
    for (int64_t g = 0; g < group; ++g) {
      soften_row(scores + g * kTile, keys, scale, head_dim, maxima[g], masses[g], sums + g * head_dim);
    }
    by_three(group, [&](auto count, int64_t g) HWY_ATTR {
      add_weighted<count>(scores + g * kTile, tile, keys, head_dim, sums + g * head_dim);
    });
  }
}

// Sums of the first split are overwritten by the result.
void join_splits(const AttendJob& job, int64_t kv_head, int64_t query, float* partials, int64_t splits) {
  const int64_t head_dim = job.head_dim, group = job.group(),
                size = partial_size(static_cast<int>(group), job.head_dim);
  for (int64_t g = 0; g < group; ++g) {
    float maximum = kMasked, mass = 0;
    for (int64_t s = 0; s < splits; ++s) maximum = maximum > partials[s * size + g] ? maximum : partials[s * size + g];
    float weights[kMostSplits];
    for (int64_t s = 0; s < splits; ++s) {
      weights[s] = hn::GetLane(hn::Exp(DF(), hn::Set(DF(), partials[s * size + g] - maximum)));
      mass += weights[s] * partials[s * size + group + g];
    }
    float* row = partials + 2 * group + g * head_dim;
    for (int64_t c = 0; c < head_dim; ++c) {
      float sum = 0;
      for (int64_t s = 0; s < splits; ++s) sum += weights[s] * row[s * size + c];
      row[c] = sum / mass;
    }
    finish_row(job, query, kv_head * group + g, row);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
