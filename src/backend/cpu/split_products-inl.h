// Scores and weighted sums of one query token, a run of keys at a time; one instance a Highway target. Included by
// kernels.cc after attention-inl.h.
//
// The queries of a group share every tile of keys and values. Packed codes are multiplied as they are, exact rows as
// they lie; keys before RoPE are turned first.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// The scratch of one attend_split; split_scratch() is its size.
struct SplitSpace {
  float* next;
  float* queries;       // [group][head_dim], times log2(e) / sqrt(head_dim)
  float* by_parity;     // the same as split_pairs() leaves them
  float* turned;        // the same turned back by the tile
  float* scores;        // [group][kRun], then weights
  float* tile;          // [kTile][head_dim]: keys before RoPE
  int16_t* codes;       // a tile of them as unpack_tile() leaves it, or turned
  float* scales;        // [pieces][kRun] or [2][head_dim]
  float* minimums;      // the same
  float* units;         // [head_dim]
  int16_t* rounded;     // queries [group][head_dim]
  int16_t* weights;     // [group][kRun]
  float* steps;         // [group] and a vector
  Rounded* of_queries;  // [pieces][group]
  Rounded* of_weights;  // [group]

  SplitSpace(float* scratch, int64_t group, int64_t d) : next(scratch) {
    queries = take(group * d);
    by_parity = take(group * d);
    turned = take(group * d);
    scores = take(group * kRun);
    tile = take(kTile * d);
    codes = reinterpret_cast<int16_t*>(take(kTile * d / 2));
    scales = take(most_pieces(d) * kRun);
    minimums = take(most_pieces(d) * kRun);
    units = take(d);
    rounded = reinterpret_cast<int16_t*>(take(group * d / 2));
    weights = reinterpret_cast<int16_t*>(take(group * kRun / 2));
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

// Tokens from `token` on, before `end`, whose scores become weights together.
HWY_INLINE int64_t run_tokens(const PackedSide& side, int64_t token, int64_t end) {
  int64_t count = tile_tokens(side, token, end);
  if (count < kTile || token < side.sinks) return count;
  while (count < kRun && end - token - count >= kTile) count += kTile;
  return count;
}

// Whether any token of this side is a row of bf16.
HWY_INLINE bool has_exact_rows(const PackedSide& side) {
  return side.codec == Codec::kBf16 || side.sinks > 0 || side.tail_rows > 0;
}
// Whether these tokens are whole blocks of codes with scales of their own for every token.
HWY_INLINE bool are_whole_codes(const PackedSide& side, int64_t token, int64_t count) {
  return count % kTile == 0 && (token - side.sinks) % kTile == 0 && side.span == 1 && !side.before_rope &&
         packed_count(side, token, count) == count;
}

// Scales and minimums of a group of whole blocks, [count].
HWY_INLINE void block_fits(const PackedSide& side, const uint8_t* block, int64_t count, int g, float* scales,
                           float* minimums) {
  for (int64_t t = 0; t < count; t += kTile, block += side.block_bytes)
    token_fits(side, block, 0, kTile, g, scales + t, minimums + t);
}

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
      for (int i = 0; i < 4 && k + i < keys; ++i) scores[q * kRun + k + i] = four[i];
    }
  }
}

// Kind: how queries are multiplied with codes.
template <typename Kind>
class KeyScorer {
 public:
  KeyScorer(const AttendJob& job, int64_t kv_head, const SplitSpace& space)
      : side_(job.keys), head_(kv_head), group_(job.group()), d_(job.head_dim), space_(space) {
    if (!side_.before_rope && has_exact_rows(side_)) {
      for (int64_t q = 0; q < group_; ++q) split_pairs(space.queries + q * d_, d_, space.by_parity + q * d_);
    }
    if (side_.span == 1 && side_.codec != Codec::kBf16 && !side_.before_rope) round_queries(kOnes.ones, kOnes.ones);
  }

  // Scores of all queries against a run of tokens.
  HWY_INLINE void score(int64_t token, int64_t count) {
    scores_ = space_.scores;
    if (are_whole_codes(side_, token, count)) return score_whole_codes(token - side_.sinks, count);
    for (int64_t t = 0; t < count; t += kTile) {
      const int64_t tokens = count - t < kTile ? count - t : kTile;
      scores_ = space_.scores + t;
      score_tile_of(token + t, tokens, packed_count(side_, token + t, tokens));
    }
  }

 private:
  HWY_INLINE void score_whole_codes(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    prefetch_run_fits(side_, block, count);
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      block_fits(side_, block, count, static_cast<int>(c / side_.group), space_.scales, space_.minimums);
      add_products<Kind>({rounded_at(c),
                          d_,
                          group_,
                          space_.of_queries + piece * group_,
                          code_chunks(side_, block, 0, c, n),
                          n / 2,
                          {space_.scales, space_.minimums, middle_of(side_)},
                          count,
                          piece > 0,
                          scores_,
                          kRun});
    });
  }

  // Of a tile or less, `packed` of them from codes.
  HWY_INLINE void score_tile_of(int64_t token, int64_t count, int64_t packed) {
    if (side_.before_rope) return score_turned(token, count, packed);
    if (packed > 0) score_packed(token - side_.sinks, packed);
    if (packed == count) return;

    const bf16* rows[kTile];
    exact_rows(side_, head_, token + packed, count - packed, rows);
    in_parts<kMostOfScores>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_rows<queries>(space_.by_parity + q * d_, d_, rows, count - packed, scores_ + q * kRun + packed);
    });
  }
  // Queries times factors of their channels. All are looked at before the first is rounded, which would wait for its
  // largest.
  HWY_INLINE void round_queries(const float* factors, const float* lows) {
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      for (int64_t q = 0; q < group_; ++q)
        space_.steps[q] = extent_of(space_.queries + q * d_ + c, n, factors + c).largest / Kind::kMost;
      for (int64_t q = 0; q < group_; ++q) {
        space_.of_queries[piece * group_ + q] = round_by<Kind>(space_.steps[q], space_.queries + q * d_ + c, n,
                                                               factors + c, lows + c, rounded_at(c) + q * d_);
      }
    });
  }

  HWY_INLINE void score_packed(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    const int64_t place = token % side_.block_tokens;
    prefetch_run_fits(side_, block, kTile);
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

  // The rounded queries from a channel on, a multiple of kLanes.
  HWY_INLINE int16_t* rounded_at(int64_t c) const { return space_.rounded + c * 2 / Kind::kEach; }

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
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      add_products<Kind>({rounded_at(c),
                          d_,
                          group_,
                          space_.of_queries + piece * group_,
                          code_chunks(side_, block, place + first, c, n),
                          n / 2,
                          {scales + piece * stride, minimums + piece * stride, middle_of(side_)},
                          count,
                          piece > 0,
                          scores_ + first,
                          kRun});
    });
  }

  // Queries are turned back by the first of the tokens, which are turned by their places alone.
  HWY_INLINE void turn_queries(int64_t token) {
    for (int64_t i = 0; i < group_ * d_; ++i) space_.turned[i] = space_.queries[i];
    turn_back(side_, token, group_, space_.turned);
  }

  HWY_INLINE void score_turned_codes(int64_t token, int64_t count) {
    const float* of_tokens = turned_codes(side_, head_, token - side_.sinks, count, space_.scales, space_.minimums,
                                          space_.units, space_.codes);
    turn_queries(token);
    for (int64_t q = 0; q < group_; ++q) {
      const Extent extent = extent_of(space_.turned + q * d_, d_, space_.units);
      const float one = extent.largest / kMostInt16, all = extent.total / kMostOfQuery;
      space_.steps[q] = one > all ? one : all;
    }
    for (int64_t q = 0; q < group_; ++q) {
      const Rounded rounded = round_by<ByPairs>(space_.steps[q], space_.turned + q * d_, d_, space_.units, kOnes.ones,
                                                space_.rounded + q * d_);
      space_.of_queries[q] = {rounded.step, 0, 0};
    }
    in_parts<kMostByCodes>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      add_codes<ByPairs, queries>(space_.rounded + q * d_, d_, space_.of_queries + q, PairRows{space_.codes, 2 * kTile},
                                  d_ / 2, {of_tokens, kOnes.ones, 0}, count, false, scores_ + q * kRun, kRun);
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
      in_parts<kMostOfScores>(group_, [&](auto queries, int64_t q) HWY_ATTR {
        for (int64_t t = 0; t < packed; t += kVectors * lanes) {
          multiply_part<queries, kVectors>(space_.turned + q * d_, d_, 1, d_, space_.tile + t, kTile,
                                           scores_ + q * kRun + t, kRun, false);
        }
      });
    }
    if (packed == count) return;
    turn_queries(token + packed);
    decode_in_tile(side_, head_, token + packed, count - packed, space_.tile);
    in_parts<kMostOfScores>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_tile<queries>(space_.turned + q * d_, space_.tile, count - packed, d_, scores_ + q * kRun + packed);
    });
  }

  const PackedSide& side_;
  const int64_t head_, group_, d_;
  const SplitSpace& space_;
  float* scores_ = nullptr;  // of the tile, in the run's
  const void* folded_ = nullptr;
};

// --- weighted sums

// Sums of all queries [group][head_dim] += weights times values of a run of tokens. Kind: how weights are multiplied
// with codes.
template <typename Kind>
class ValueAdder {
 public:
  ValueAdder(const AttendJob& job, int64_t kv_head, const SplitSpace& space, float* sums)
      : side_(job.values), head_(kv_head), group_(job.group()), d_(job.head_dim), space_(space), sums_(sums) {}

  HWY_INLINE void add(int64_t token, int64_t count) {
    if (are_whole_codes(side_, token, count)) return add_whole_codes(token - side_.sinks, count);
    for (int64_t t = 0; t < count; t += kTile) {
      const int64_t tokens = count - t < kTile ? count - t : kTile;
      add_tile(token + t, tokens, space_.scores + t);
    }
  }

 private:
  HWY_INLINE void add_whole_codes(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    prefetch_run_fits(side_, block, count);
    for (int64_t c = 0; c < d_; c += side_.group) {
      block_fits(side_, block, count, static_cast<int>(c / side_.group), space_.scales, space_.minimums);
      round(space_.scores, count, space_.scales, space_.minimums);
      multiply(block, 0, count, c, side_.group, kOnes.ones, kOnes.ones);
    }
  }

  HWY_INLINE void add_tile(int64_t token, int64_t count, const float* weights) {
    const int64_t packed = packed_count(side_, token, count);
    if (packed > 0) add_packed(token - side_.sinks, packed, weights);
    if (packed == count) return;
    const bf16* rows[kTile];
    exact_rows(side_, head_, token + packed, count - packed, rows);
    in_parts<kMostOfSums>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      add_rows<queries>(weights + q * kRun + packed, rows, count - packed, d_, sums_ + q * d_);
    });
  }

  HWY_INLINE void add_packed(int64_t token, int64_t count, const float* weights) {
    const int64_t place = token % side_.block_tokens;
    const uint8_t* block = side_.block(head_, token);
    prefetch_run_fits(side_, block, kTile);
    add_values(
        side_, block, place, count, space_.scales, space_.minimums,
        [&](int64_t first, int64_t tokens, const float* scales, const float* minimums)
            HWY_ATTR { round(weights + first, tokens, scales, minimums); },
        [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales, const float* minimums)
            HWY_ATTR { multiply(block, place + first, tokens, c, n, scales, minimums); });
  }

  // A step is that of the largest weight at the largest scale, which bounds their products: looking for the largest of
  // these would take as long again.
  HWY_INLINE void round(const float* weights, int64_t tokens, const float* scales, const float* minimums) {
    const int64_t n = (tokens + kLanes - 1) / kLanes * kLanes;
    const float largest = extent_of(scales, n, kOnes.ones).largest / Kind::kMost;
    for (int64_t q = 0; q < group_; ++q) {
      space_.of_weights[q] =
          round_by<Kind>(space_.steps[q] * largest, weights + q * kRun, n, scales, minimums, space_.weights + q * kRun);
    }
  }

  HWY_INLINE void multiply(const uint8_t* block, int64_t place, int64_t tokens, int64_t c, int64_t n,
                           const float* scales, const float* minimums) {
    add_products<Kind>({space_.weights,
                        kRun,
                        group_,
                        space_.of_weights,
                        code_chunks(side_, block, place, c, n),
                        (tokens + 1) / 2,
                        {scales, minimums, middle_of(side_)},
                        n,
                        true,
                        sums_ + c,
                        d_});
  }

  const PackedSide& side_;
  const int64_t head_, group_, d_;
  const SplitSpace& space_;
  float* sums_;
};

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
