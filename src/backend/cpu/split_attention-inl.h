// Decode: one query token against its keys, split among threads by context; one instance a Highway target. Included by
// kernels.cc after attention-inl.h.
//
// The queries of a group share every tile of keys and values. Packed codes are multiplied as they are, exact rows as
// they lie; keys before RoPE are turned first.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// The scratch of one attend_split; split_scratch() is its size.
struct SplitSpace {
  float* next;
  float* queries;       // [group][head_dim], divided by sqrt(head_dim)
  float* by_parity;     // the same as split_pairs() leaves them
  float* turned;        // the same turned back by the tile
  float* scores;        // [group][kTile], then weights
  float* tile;          // [kTile][head_dim]: keys before RoPE
  int16_t* codes;       // a tile of them as unpack_tile() leaves it, or turned
  float* scales;        // [pieces][kTile] or [2][head_dim]
  float* minimums;      // the same
  float* units;         // [head_dim]
  int16_t* rounded;     // queries [group][head_dim]
  int16_t* weights;     // [group][kTile]
  float* steps;         // [group] and a vector
  Rounded* of_queries;  // [pieces][group]
  Rounded* of_weights;  // [group]

  SplitSpace(float* scratch, int64_t group, int64_t d) : next(scratch) {
    queries = take(group * d);
    by_parity = take(group * d);
    turned = take(group * d);
    scores = take(group * kTile);
    tile = take(kTile * d);
    codes = reinterpret_cast<int16_t*>(take(kTile * d / 2));
    scales = take(most_pieces(d) * kTile);
    minimums = take(most_pieces(d) * kTile);
    units = take(d);
    rounded = reinterpret_cast<int16_t*>(take(group * d / 2));
    weights = reinterpret_cast<int16_t*>(take(group * kTile / 2));
    steps = take(group + kRowMultiple);
    of_queries = reinterpret_cast<Rounded*>(take(3 * group * most_pieces(d)));
    of_weights = reinterpret_cast<Rounded*>(take(3 * group));
  }
  float* take(int64_t count) {
    float* part = next;
    next += count;
    return part;
  }
};

// --- scores

// scores[q][k] = dot(queries[q], tile[k]) for kQueries queries and all keys; up to 3 rows past the last are read.
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
    float four[4];
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
      sum_four(sums[q][0], sums[q][1], sums[q][2], sums[q][3], four);
      for (int i = 0; i < 4 && k + i < keys; ++i) scores[q * kTile + k + i] = four[i];
    }
  }
}

class KeyScorer {
 public:
  KeyScorer(const AttendJob& job, int64_t kv_head, const SplitSpace& space)
      : side_(job.keys), head_(kv_head), group_(job.group()), d_(job.head_dim), space_(space) {
    if (!side_.before_rope) {
      for (int64_t q = 0; q < group_; ++q) split_pairs(space.queries + q * d_, d_, space.by_parity + q * d_);
    }
    if (side_.span == 1 && side_.codec != Codec::kBf16 && !side_.before_rope) round_queries(kOnes.ones, kOnes.ones);
  }

  // Scores of all queries against tokens [token, token + count), `packed` of them from codes.
  HWY_INLINE void score(int64_t token, int64_t count, int64_t packed) {
    if (side_.before_rope) return score_turned(token, count, packed);
    if (packed > 0) score_packed(token - side_.sinks, packed);
    if (packed == count) return;
    const bf16* rows[kTile];
    exact_rows(side_, head_, token + packed, count - packed, rows);
    by_three(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_rows<queries>(space_.by_parity + q * d_, d_, rows, count - packed, space_.scores + q * kTile + packed);
    });
  }

 private:
  // Queries times factors of their channels. All are looked at before the first is rounded, which would wait for its
  // largest.
  HWY_INLINE void round_queries(const float* factors, const float* lows) {
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      for (int64_t q = 0; q < group_; ++q)
        space_.steps[q] = extent_of(space_.queries + q * d_ + c, n, factors + c).largest / kMostInt16;
      for (int64_t q = 0; q < group_; ++q) {
        space_.of_queries[piece * group_ + q] = round_by(space_.steps[q], space_.queries + q * d_ + c, n, factors + c,
                                                         lows + c, space_.rounded + q * d_ + c);
      }
    });
  }

  HWY_INLINE void score_packed(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    const int64_t place = token % side_.block_tokens;
    prefetch_next(side_, block, place);
    if (side_.span == 1) {
      each_piece(side_, [&](int64_t piece, int64_t c, int64_t) HWY_ATTR {
        token_fits(side_, block, place, count, static_cast<int>(c / side_.group), space_.scales + piece * kTile,
                   space_.minimums + piece * kTile);
      });
      return multiply(block, place, 0, count, space_.scales, space_.minimums, kTile);
    }
    for (int64_t t = 0; t < count;) {
      const int64_t tokens = span_tokens(side_, place + t, count - t);
      fold(block, place + t);
      multiply(block, place, t, tokens, kOnes.ones, kOnes.ones, 0);
      t += tokens;
    }
  }

  // The scales of a span are multiplied into the queries, and the minimums become one number.
  HWY_INLINE void fold(const uint8_t* block, int64_t place) {
    const void* fits = side_.span == 0 ? static_cast<const void*>(side_.whole) : scales_of(side_, block, place, 0);
    if (fits == folded_) return;
    folded_ = fits;
    channel_fits(side_, block, place, space_.scales, space_.minimums);
    round_queries(space_.scales, space_.minimums);
  }

  // Codes of `count` of the tokens from `place` on, from the `first` of them.
  HWY_INLINE void multiply(const uint8_t* block, int64_t place, int64_t first, int64_t count, const float* scales,
                           const float* minimums, int64_t stride) {
    with_codec(side_.codec, [&](auto codec) HWY_ATTR {
      by_few(group_, [&](auto queries, int64_t q) HWY_ATTR {
        each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
          const Affine affine{scales + piece * stride, minimums + piece * stride, middle_of(side_)};
          add_codes<queries>(space_.rounded + q * d_ + c, d_, 2, space_.of_queries + piece * group_ + q,
                             CodeRows<codec>(side_, block, place + first, c), n / 2, affine, count, piece > 0,
                             space_.scores + q * kTile + first, kTile);
        });
      });
    });
  }

  // Queries are turned back by the first of the tokens, which are turned by their places alone.
  HWY_INLINE void turn_queries(int64_t token) {
    for (int64_t i = 0; i < group_ * d_; ++i) space_.turned[i] = space_.queries[i];
    turn_back(side_, token, group_, space_.turned);
  }

  HWY_INLINE void score_turned_codes(int64_t token, int64_t count) {
    turned_codes(side_, head_, token - side_.sinks, count, space_.scales, space_.minimums, space_.units, space_.codes);
    turn_queries(token);
    for (int64_t q = 0; q < group_; ++q) {
      const Extent extent = extent_of(space_.turned + q * d_, d_, space_.units);
      const float one = extent.largest / kMostInt16, all = extent.total / kMostOfQuery;
      space_.steps[q] = one > all ? one : all;
    }
    for (int64_t q = 0; q < group_; ++q) {
      const Rounded rounded =
          round_by(space_.steps[q], space_.turned + q * d_, d_, space_.units, kOnes.ones, space_.rounded + q * d_);
      space_.of_queries[q] = {rounded.step, 0, 0};
    }
    by_few(group_, [&](auto queries, int64_t q) HWY_ATTR {
      add_codes<queries>(space_.rounded + q * d_, d_, 2, space_.of_queries + q, PairRows{space_.codes, 2 * kTile},
                         d_ / 2, {kOnes.ones, kOnes.ones, 0}, count, false, space_.scores + q * kTile, kTile);
    });
  }

  HWY_INLINE void score_turned(int64_t token, int64_t count, int64_t packed) {
    constexpr int kVectors = 4;
    const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
    if (packed > 0 && turns_codes(side_)) {
      score_turned_codes(token, packed);
    } else if (packed > 0) {
      turn_queries(token);
      turned_tile(side_, head_, token - side_.sinks, packed, space_.codes, space_.scales, space_.minimums, space_.tile);
      by_three(group_, [&](auto queries, int64_t q) HWY_ATTR {
        for (int64_t t = 0; t < packed; t += kVectors * lanes) {
          multiply_part<queries, kVectors>(space_.turned + q * d_, d_, 1, d_, space_.tile + t,
                                           space_.scores + q * kTile + t, kTile, false);
        }
      });
    }
    if (packed == count) return;
    turn_queries(token + packed);
    decode_in_tile(side_, head_, token + packed, count - packed, space_.tile);
    by_three(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_tile<queries>(space_.turned + q * d_, space_.tile, count - packed, d_, space_.scores + q * kTile + packed);
    });
  }

  const PackedSide& side_;
  const int64_t head_, group_, d_;
  const SplitSpace& space_;
  const void* folded_ = nullptr;
};

// --- weighted sums

// Sums of all queries [group][head_dim] += weights times the codes of tokens [token, token + count), from behind the
// sinks.
HWY_INLINE void add_packed(const PackedSide& side, int64_t head, int64_t group, int64_t token, int64_t count,
                           const SplitSpace& space, float* sums) {
  const int64_t d = side.head_dim, place = token % side.block_tokens;
  const uint8_t* block = side.block(head, token);
  prefetch_next(side, block, place);
  // A step is that of the largest weight at the largest scale, which bounds their products: looking for the largest of
  // these would take as long again.
  const auto round = [&](int64_t first, int64_t tokens, const float* scales, const float* minimums) HWY_ATTR {
    const int64_t n = (tokens + kLanes - 1) / kLanes * kLanes;
    const float largest = extent_of(scales, n, kOnes.ones).largest / kMostInt16;
    for (int64_t q = 0; q < group; ++q) {
      space.of_weights[q] = round_by(space.steps[q] * largest, space.scores + q * kTile + first, n, scales, minimums,
                                     space.weights + q * kTile);
    }
  };
  const auto add = [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales, const float* minimums)
                       HWY_ATTR {
                         with_codec(side.codec, [&](auto codec) HWY_ATTR {
                           by_few(group, [&](auto queries, int64_t q) HWY_ATTR {
                             add_codes<queries>(space.weights + q * kTile, kTile, 2, space.of_weights + q,
                                                CodeRows<codec>(side, block, place + first, c), (tokens + 1) / 2,
                                                {scales, minimums, middle_of(side)}, n, true, sums + q * d + c, d);
                           });
                         });
                       };
  add_values(side, block, place, count, space.scales, space.minimums, round, add);
}

// Scores of all queries become weights, the largest of each query to `largest`; running maxima, masses and sums are
// rescaled. Behind the last key weights are zero, up to a multiple of kLanes. One query at a time would wait for each
// of its sums across lanes.
HWY_INLINE void soften_rows(float* scores, int64_t group, int64_t keys, int64_t head_dim, float* maxima, float* masses,
                            float* sums, float* largest) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  for (int64_t g = 0; g < group; ++g) {
    float* row = scores + g * kTile;
    for (int64_t k = keys; k < padded; ++k) row[k] = kMasked;
    auto highest = hn::LoadU(d, row);
    for (int64_t k = lanes; k < padded; k += lanes) highest = hn::Max(highest, hn::LoadU(d, row + k));
    const float before = maxima[g], tile = hn::GetLane(hn::MaxOfLanes(d, highest));
    largest[g] = tile - before;
    if (tile <= before) continue;
    maxima[g] = tile;
    largest[g] = 0;
    const auto shrink = exp_of_negative(d, hn::Set(d, before - tile));
    masses[g] *= hn::GetLane(shrink);
    for (int64_t c = 0; c < head_dim; c += lanes)
      hn::StoreU(hn::Mul(hn::LoadU(d, sums + g * head_dim + c), shrink), d, sums + g * head_dim + c);
  }
  for (int64_t g = 0; g < group; g += lanes) hn::StoreU(exp_of_negative(d, hn::LoadU(d, largest + g)), d, largest + g);
  for (int64_t g = 0; g < group; ++g) {
    float* row = scores + g * kTile;
    const auto maximum = hn::Set(d, maxima[g]);
    auto total = hn::Zero(d);
    for (int64_t k = 0; k < padded; k += lanes) {
      const auto p = exp_of_negative(d, hn::Sub(hn::LoadU(d, row + k), maximum));
      hn::StoreU(p, d, row + k);
      total = hn::Add(total, p);
    }
    masses[g] += hn::GetLane(hn::SumOfLanes(d, total));
  }
}

void attend_split(const AttendJob& job, int64_t kv_head, int64_t query, int64_t from, int64_t to, float* partial,
                  float* scratch) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = job.head_dim, group = job.group(), sinks = job.keys.sinks;
  const SplitSpace space(scratch, group, head_dim);
  const auto scale = hn::Set(d, 1.0f / __builtin_sqrtf(static_cast<float>(head_dim)));
  const float* given = job.queries.row<float>(query) + kv_head * group * head_dim;
  float* maxima = partial;
  float* masses = partial + group;
  float* sums = partial + 2 * group;
  for (int64_t g = 0; g < group; ++g) {
    maxima[g] = kMasked;
    masses[g] = 0;
  }
  for (int64_t i = 0; i < group * head_dim; i += lanes) {
    hn::StoreU(hn::Zero(d), d, sums + i);
    hn::StoreU(hn::Mul(hn::LoadU(d, given + i), scale), d, space.queries + i);
  }

  for (int64_t i = 0; i < kRowMultiple; i += lanes) hn::StoreU(hn::Zero(d), d, space.steps + group + i);
  KeyScorer scorer(job, kv_head, space);
  for (int64_t key = from, count; key < to; key += count) {
    count = tile_tokens(job.keys, key, to);
    scorer.score(key, count, packed_count(job.keys, key, count));
    soften_rows(space.scores, group, count, head_dim, maxima, masses, sums, space.steps);
    const int64_t packed = packed_count(job.values, key, count);
    if (packed > 0) add_packed(job.values, kv_head, group, key - sinks, packed, space, sums);
    if (packed == count) continue;
    const bf16* rows[kTile];
    exact_rows(job.values, kv_head, key + packed, count - packed, rows);
    by_three(group, [&](auto queries, int64_t g) HWY_ATTR {
      add_rows<queries>(space.scores + g * kTile + packed, rows, count - packed, head_dim, sums + g * head_dim);
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
