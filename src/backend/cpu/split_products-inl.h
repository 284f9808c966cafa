// Scores and weighted sums of one query token, a run of keys at a time; one instance a Highway target. Included by
// kernels.cc after attention-inl.h.
//
// The queries of a group share every tile of keys and values. Packed codes are multiplied as they are, exact rows as
// they lie; keys before RoPE are turned first.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

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
// Whether these tokens are whole blocks of codes whose scales are not folded.
HWY_INLINE bool are_whole_codes(const PackedSide& side, int64_t token, int64_t count) {
  return count % kTile == 0 && (token - side.sinks) % kTile == 0 && !side.folds() && !side.before_rope &&
         packed_count(side, token, count) == count;
}

// Scales and centres of a group of tokens: whole blocks, or a part of one from `place` on.
HWY_INLINE void run_centres(const PackedSide& side, const uint8_t* block, int64_t place, int64_t count, int g,
                            float* scales, float* centres) {
  for (int64_t t = 0; t < count; t += kTile, block += side.block_bytes)
    token_centres(side, block, place, count - t < kTile ? count - t : kTile, g, scales + t, centres + t);
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
      join_lanes(Adding(), sums[q][0], sums[q][1], sums[q][2], sums[q][3], four);
      for (int i = 0; i < 4 && k + i < keys; ++i) scores[q * kRun + k + i] = four[i];
    }
  }
}

// Kind: how queries are multiplied with codes.
template <typename Kind>
class KeyScorer {
 public:
  KeyScorer(const AttendJob& job, int64_t kv_head, const SplitSpace& space)
      : side_(job.keys),
        head_(kv_head),
        group_(job.group()),
        d_(job.head_dim),
        space_(space),
        queries_(side_, group_, space),
        turned_(side_, group_, space) {
    if (!side_.before_rope && has_exact_rows(side_)) {
      for (int64_t q = 0; q < group_; ++q) split_pairs(space.queries + q * d_, d_, space.by_parity + q * d_);
    }
  }

  // Scores of all queries against a run of tokens.
  HWY_INLINE void score(int64_t token, int64_t count) {
    scores_ = space_.scores;
    if (are_whole_codes(side_, token, count)) return score_codes(token - side_.sinks, count);
    const int64_t together = takes_runs() ? packed_count(side_, token, count) : 0;
    if (together > 0) score_run(token, together);
    for (int64_t t = together; t < count; t += kTile) {
      const int64_t tokens = count - t < kTile ? count - t : kTile;
      scores_ = space_.scores + t;
      score_tile_of(token + t, tokens, takes_runs() ? 0 : packed_count(side_, token + t, tokens));
    }
  }

 private:
  // Whether codes of several tiles are taken together. Few queries take turned keys from registers, more from memory.
  HWY_INLINE bool takes_runs() const {
    return side_.before_rope ? turns_codes(side_) && group_ <= kMostByCodes : side_.folds();
  }
  HWY_INLINE void score_run(int64_t token, int64_t count) {
#if HWY_TARGET != HWY_SCALAR
    if (side_.before_rope) return score_while_turning(token, count);
#endif
    score_folded(token - side_.sinks, count);
  }

  // Codes whose scales are not folded: whole blocks, or a part of one.
  HWY_INLINE void score_codes(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    const int64_t place = side_.place_of(token);
    prefetch_run_fits(side_, block, count);
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t) HWY_ATTR {
      run_centres(side_, block, place, count, static_cast<int>(c / side_.group), space_.scales + piece * kRun,
                  space_.centres + piece * kRun);
    });
    multiply(block, place, 0, count, 0, {}, {space_.scales, space_.centres, middle_of(side_)}, kRun);
  }

  // Of a tile or less, `packed` of them from codes.
  HWY_INLINE void score_tile_of(int64_t token, int64_t count, int64_t packed) {
    if (side_.before_rope) return score_turned(token, count, packed);
    if (packed > 0) score_codes(token - side_.sinks, packed);
    if (packed == count) return;

    const bf16* rows[kTile];
    exact_rows(side_, head_, token + packed, count - packed, rows);
    in_parts<kMostOfRows>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_rows<queries>(space_.by_parity + q * d_, d_, rows, count - packed, q == 0, scores_ + q * kRun + packed);
    });
  }

  // Spans of a run are folded kMostFolds at a time, and multiplied as far as their tiles lie evenly: in blocks of
  // several tiles one by one.
  HWY_INLINE void score_folded(int64_t token, int64_t count) {
    for (int64_t t = 0; t < count;) {
      CodeSpan spans[kMostFolds];
      int64_t n = 0;
      for (; n < kMostFolds && t < count; t += spans[n++].tokens) {
        const int64_t place = side_.place_of(token + t), held = side_.block_tokens - place;
        const int64_t shared = span_tokens(side_, place, count - t);
        spans[n] = {side_.block(head_, token + t), place, t, shared < held ? shared : held};
      }
      queries_.fold(spans, n);
      const int64_t together = side_.block_tokens == kTile ? n : 1;
      for (int64_t i = 0; i < n; i += together) {
        const int64_t end = i + together < n ? spans[i + together].first : t;
        prefetch_run_fits(side_, spans[i].block, end - spans[i].first);
        multiply(spans[i].block, spans[i].place, spans[i].first, end - spans[i].first, i, queries_.spans_of(side_.span),
                 {kOnes.ones, kOnes.ones, 0}, 0);
      }
    }
  }

  // Codes of `count` tokens from a place of a block on with the i-th queries, and those of the spans that follow, to
  // the scores from the `first` on. Arrays of `fit` are as long for every piece as `stride`.
  HWY_INLINE void multiply(const uint8_t* block, int64_t place, int64_t first, int64_t count, int64_t i,
                           const LaneSpans& spans, const Affine& fit, int64_t stride) {
    each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      add_products<Kind>({queries_.numbers(i, c),
                          d_,
                          group_,
                          queries_.rounded(i, piece),
                          spans,
                          code_chunks(side_, block, place, c, n),
                          n / kFour,
                          {fit.scales + piece * stride, fit.centres + piece * stride, fit.middle},
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
    const float* of_tokens = turned_codes(side_, head_, token - side_.sinks, count, side_.turns_fixed, space_.scales,
                                          space_.centres, space_.units, space_.codes);
    turned_.find_steps(space_.units);
    turned_.turn(token, space_.units);
    in_parts<kMostByCodes>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      add_codes<ByPairs, queries>(turned_.numbers() + q * d_, d_, turned_.rounded().from(q), {},
                                  PairRows{space_.codes, 2 * kTile}, d_ / 2, {of_tokens, kOnes.ones, 0}, count, false,
                                  scores_ + q * kRun, kRun);
    });
  }
#if HWY_TARGET != HWY_SCALAR
  HWY_INLINE void score_while_turning(int64_t token, int64_t count) {
    const TurnedRun run{side_, head_, token - side_.sinks, count, space_.scales, space_.centres, space_.units};
    each_turned(
        run, [&]() HWY_ATTR { turned_.find_steps(space_.units); },
        [&](int64_t t) HWY_ATTR { turned_.turn(token + t, space_.units); },
        [&](int64_t first, int64_t tokens, const auto& values, const float* of_tokens) HWY_ATTR {
          const int64_t tile = first / kTile * kTile;
          with_codec(side_.codec, [&](auto codec) HWY_ATTR {
            in_parts<kMostByCodes>(group_, [&](auto queries, int64_t) HWY_ATTR {
              score_turned_tokens<codec, queries>(side_, run.block(tile), run.place(tile), first - tile, tokens, values,
                                                  turned_.numbers(), turned_.rounded().steps, of_tokens, scores_ + tile,
                                                  kRun);
            });
          });
        });
  }
#endif

  HWY_INLINE void score_turned(int64_t token, int64_t count, int64_t packed) {
    constexpr int kVectors = 4;
    const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
    if (packed > 0 && turns_codes(side_)) {
      score_turned_codes(token, packed);
    } else if (packed > 0) {
      turn_queries(token);
      turned_tile(side_, head_, token - side_.sinks, packed, space_.codes, space_.scales, space_.centres, space_.tile);
      in_parts<kMostOfRows>(group_, [&](auto queries, int64_t q) HWY_ATTR {
        for (int64_t t = 0; t < packed; t += kVectors * lanes) {
          multiply_part<queries, kVectors>(space_.turned + q * d_, d_, 1, d_, space_.tile + t, kTile,
                                           scores_ + q * kRun + t, kRun, false);
        }
      });
    }
    if (packed == count) return;
    turn_queries(token + packed);
    decode_in_tile(side_, head_, token + packed, count - packed, space_.tile);
    in_parts<kMostOfRows>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_tile<queries>(space_.turned + q * d_, space_.tile, count - packed, d_, scores_ + q * kRun + packed);
    });
  }

  const PackedSide& side_;
  const int64_t head_, group_, d_;
  const SplitSpace& space_;
  RoundedQueries<Kind> queries_;
  TurnedQueries turned_;
  float* scores_ = nullptr;  // of the tile, in the run's
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
    fix_weights(space_.scores, count);
    for (int64_t c = 0; c < d_; c += side_.group) {
      run_centres(side_, block, 0, count, static_cast<int>(c / side_.group), space_.scales, space_.centres);
      round(space_.scores, 0, count, space_.scales, space_.centres);
      multiply(block, 0, count, c, side_.group, kOnes.ones, kOnes.ones);
    }
  }

  HWY_INLINE void add_tile(int64_t token, int64_t count, const float* weights) {
    const int64_t packed = packed_count(side_, token, count);
    if (packed > 0) add_packed(token - side_.sinks, packed, weights);
    if (packed == count) return;
    const bf16* rows[kTile];
    exact_rows(side_, head_, token + packed, count - packed, rows);
    in_parts<kMostOfRows>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      add_rows<queries>(weights + q * kRun + packed, rows, count - packed, d_, q == 0, sums_ + q * d_);
    });
  }

  HWY_INLINE void add_packed(int64_t token, int64_t count, const float* weights) {
    const int64_t place = side_.place_of(token);
    const uint8_t* block = side_.block(head_, token);
    prefetch_run_fits(side_, block, kTile);
    fix_weights(weights, (count + kLanes - 1) / kLanes * kLanes);
    add_values(
        side_, block, place, count, space_.scales, space_.centres,
        [&](int64_t first, int64_t tokens, const float* scales, const float* centres)
            HWY_ATTR { round(weights, first, tokens, scales, centres); },
        [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales, const float* centres)
            HWY_ATTR { multiply(block, place + first, tokens, c, n, scales, centres); });
  }

  HWY_INLINE void fix_weights(const float* weights, int64_t count) {
    for (int64_t q = 0; q < group_; ++q)
      to_fixed(weights + q * kRun, count, inverse_unit(space_.largest[q]), space_.fixed_weights + q * kRun);
  }

  HWY_INLINE Rounded rounded() const { return Rounded::in(space_.of_weights, whole_lines(group_)); }

  // A step is that of the largest weight at the largest scale, which bounds their products: looking for the largest of
  // these would take as long again.
  HWY_INLINE void round(const float* weights, int64_t first, int64_t tokens, const float* scales,
                        const float* centres) {
    const int64_t n = (tokens + kLanes - 1) / kLanes * kLanes;
    const float largest = largest_of(scales, n);
    to_fixed(scales, n, inverse_unit(largest), space_.fixed_scales);
    constexpr auto kNarrow = static_cast<int16_t>(Kind::kMost);
    constexpr float kUnits = kProductUnit / kMostFixed / kMostFixed * (Kind::kEach == 4 ? kProductUnit / kNarrow : 1);
    in_parts<kMostRounded>(group_, [&](auto queries, int64_t q) HWY_ATTR {
      const Rounded part = rounded().from(q);
      for (int i = 0; i < queries; ++i) {
        part.steps[i] = space_.largest[q + i] * largest * kUnits;
        space_.narrows[i] = kNarrow;
      }
      const int64_t at = q * kRun + first;
      round_fixed<Kind, queries>(weights + at, space_.fixed_weights + at, kRun, n, space_.fixed_scales, centres,
                                 space_.narrows, space_.weights + q * kRun, part);
    });
  }

  HWY_INLINE void multiply(const uint8_t* block, int64_t place, int64_t tokens, int64_t c, int64_t n,
                           const float* scales, const float* centres) {
    add_products<Kind>({space_.weights,
                        kRun,
                        group_,
                        rounded(),
                        {},
                        code_chunks(side_, block, place, c, n),
                        (tokens + kFour - 1) / kFour,
                        {scales, centres, middle_of(side_)},
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
