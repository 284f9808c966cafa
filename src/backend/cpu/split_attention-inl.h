// Decode: one query token against its keys, split among threads by context; one instance a Highway target. Included by
// kernels.cc after attention-inl.h.
//
// The queries of a group share every tile of keys and values. Packed codes are multiplied as they are, exact rows as
// they lie; keys before RoPE alone are decoded, since turning needs their values.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Channels whose products with codes fit an int32: 256 * 255 * 32767 < 2^31.
constexpr int64_t kPiece = 256;

// For codes whose scale is folded into what they are multiplied with.
struct Ones {
  float ones[kPiece];
  constexpr Ones() : ones() {
    for (float& one : ones) one = 1;
  }
};
HWY_ALIGN constexpr Ones kOnes;

// The scratch of one attend_split; split_scratch() is its size.
struct SplitSpace {
  float* next;
  float* queries;       // [group][head_dim], divided by sqrt(head_dim)
  float* by_parity;     // the same as split_pairs() leaves them
  float* turned;        // the same, turned back by the tile
  float* scores;        // [group][kTile], then weights
  float* tile;          // [kTile][head_dim] f32, or its codes as unpack_tile() leaves them
  float* scales;        // [pieces][kTile] or [head_dim]
  float* minimums;      // the same
  float* folded;        // [head_dim] or [kTile]
  int16_t* rounded;     // queries [group][head_dim]
  int16_t* weights;     // [group][kTile]
  Rounded* of_queries;  // [group][pieces]
  Rounded* of_weights;  // [group]

  SplitSpace(float* scratch, int64_t group, int64_t d) : next(scratch) {
    queries = take(group * d);
    by_parity = take(group * d);
    turned = take(group * d);
    scores = take(group * kTile);
    tile = take(kTile * d);
    scales = take(most_pieces(d) * kTile);
    minimums = take(most_pieces(d) * kTile);
    folded = take(d + kTile);
    rounded = reinterpret_cast<int16_t*>(take(group * d / 2));
    weights = reinterpret_cast<int16_t*>(take(group * kTile / 2));
    of_queries = reinterpret_cast<Rounded*>(take(3 * group * most_pieces(d)));
    of_weights = reinterpret_cast<Rounded*>(take(3 * group));
  }
  float* take(int64_t count) {
    float* part = next;
    next += count;
    return part;
  }
  int16_t* codes() const { return reinterpret_cast<int16_t*>(tile); }
};

// Calls body(index, channel, count) for the pieces of a head that share scale and minimum (or none).
template <typename Body>
HWY_INLINE int64_t each_piece(const PackedSide& side, Body body) {
  const int64_t shared = side.span == 1 ? side.group : side.head_dim;
  int64_t index = 0;
  for (int64_t c = 0; c < side.head_dim; ++index) {
    const int64_t left = shared - c % shared, count = left < kPiece ? left : kPiece;
    body(index, c, count);
    c += count;
  }
  return index;
}

// --- scores

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
    float four[4];
    // Not unrolled, g++ 12 keeps all sums in memory for the loop above too.
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
      sum_four(sums[q][0], sums[q][1], sums[q][2], sums[q][3], four);
      for (int i = 0; i < 4; ++i) scores[q * kTile + k + i] = four[i];
    }
  }
}

class KeyScorer {
 public:
  KeyScorer(const AttendJob& job, int64_t kv_head, const SplitSpace& space)
      : side_(job.keys), head_(kv_head), group_(job.group()), d_(job.head_dim), space_(space) {
    if (side_.before_rope) return;
    for (int64_t q = 0; q < group_; ++q) split_pairs(space.queries + q * d_, d_, space.by_parity + q * d_);
    if (side_.codec != Codec::kBf16 && side_.span == 1) {
      for (int64_t q = 0; q < group_; ++q) round_query(q, space.queries + q * d_);
    }
  }

  // Scores of all queries against tokens [token, token + count), `packed` of them from codes.
  HWY_INLINE void score(int64_t token, int64_t count, int64_t packed) {
    if (side_.before_rope) return score_turned(token, count);
    if (packed > 0) score_packed(token - side_.sinks, packed);
    if (packed == count) return;
    const bf16* rows[kTile];
    for (int64_t k = packed; k < count; ++k) rows[k] = exact_row(side_, head_, token + k);
    by_three(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_rows<queries>(space_.by_parity + q * d_, d_, rows + packed, count - packed,
                          space_.scores + q * kTile + packed);
    });
  }

 private:
  HWY_INLINE void round_query(int64_t q, const float* x) {
    pieces_ = each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
      space_.of_queries[q * most_pieces(d_) + piece] = round_to_int16(x + c, n, space_.rounded + q * d_ + c);
    });
  }

  HWY_INLINE void score_packed(int64_t token, int64_t count) {
    const uint8_t* block = side_.block(head_, token);
    const int64_t place = token % side_.block_tokens;
    unpack_tile(side_, block, place, count, space_.codes());
    if (side_.span == 1) {
      each_piece(side_, [&](int64_t piece, int64_t c, int64_t) HWY_ATTR {
        token_fits(side_, block, place, count, static_cast<int>(c / side_.group), space_.scales + piece * kTile,
                   space_.minimums + piece * kTile);
      });
      return multiply(0, count, space_.scales, space_.minimums, kTile);
    }
    for (int64_t t = 0; t < count;) {
      const int64_t left = side_.span == 0 ? count - t : side_.span - (place + t) % side_.span;
      const int64_t tokens = left < count - t ? left : count - t;
      fold(block, place + t);
      multiply(t, tokens, kOnes.ones, kOnes.ones, 0);
      t += tokens;
    }
  }

  // The scales of a span are multiplied into the queries, and the minimums become one number.
  HWY_INLINE void fold(const uint8_t* block, int64_t place) {
    const DF d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const void* fits = side_.span == 0 ? static_cast<const void*>(side_.whole) : scales_of(side_, block, place, 0);
    if (fits == folded_) return;
    folded_ = fits;
    channel_fits(side_, block, place, space_.scales, space_.minimums);
    for (int64_t q = 0; q < group_; ++q) {
      const float* query = space_.queries + q * d_;
      for (int64_t c = 0; c < d_; c += lanes)
        hn::StoreU(hn::Mul(hn::LoadU(d, query + c), hn::LoadU(d, space_.scales + c)), d, space_.folded + c);
      round_query(q, space_.folded);
      each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (int64_t i = c; i < c + n; i += lanes)
          sum = hn::MulAdd(hn::LoadU(d, query + i), hn::LoadU(d, space_.minimums + i), sum);
        space_.of_queries[q * most_pieces(d_) + piece].sum = hn::GetLane(hn::SumOfLanes(d, sum));
      });
    }
  }

  HWY_INLINE void multiply(int64_t first, int64_t count, const float* scales, const float* minimums, int64_t stride) {
    by_four(group_, [&](auto queries, int64_t q) HWY_ATTR {
      each_piece(side_, [&](int64_t piece, int64_t c, int64_t n) HWY_ATTR {
        const Affine affine{scales + piece * stride, minimums + piece * stride,
                            0.5f * static_cast<float>(side_.levels())};
        add_codes<queries>(space_.rounded + q * d_ + c, d_, space_.of_queries + q * most_pieces(d_) + piece,
                           most_pieces(d_), space_.codes() + (c / 2 * kTile + first) * 2, 2 * kTile, n / 2, affine,
                           count, piece > 0, space_.scores + q * kTile + first, kTile);
      });
    });
  }

  HWY_INLINE void score_turned(int64_t token, int64_t count) {
    decode_in_tile(side_, head_, token, count, space_.tile);
    for (int64_t i = 0; i < group_ * d_; ++i) space_.turned[i] = space_.queries[i];
    for (int64_t q = 0; q < group_; ++q) turn_back(side_, token, space_.turned + q * d_);
    by_three(group_, [&](auto queries, int64_t q) HWY_ATTR {
      score_tile<queries>(space_.turned + q * d_, space_.tile, count, d_, space_.scores + q * kTile);
    });
  }

  const PackedSide& side_;
  const int64_t head_, group_, d_;
  const SplitSpace& space_;
  int64_t pieces_ = 0;
  const void* folded_ = nullptr;
};

// --- weighted sums

// Weights of one query times what their codes share; of them and of weights times minimums the sums.
HWY_INLINE Rounded round_weights(const float* weights, const float* scales, const float* minimums, int64_t count,
                                 float* scaled, int16_t* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
  auto low = hn::Zero(d);
  for (int64_t t = 0; t < padded; t += lanes) {
    const auto held = hn::FirstN(d, static_cast<size_t>(count > t ? count - t : 0));
    const auto weight = hn::IfThenElseZero(held, hn::LoadU(d, weights + t));
    hn::StoreU(hn::Mul(weight, hn::LoadU(d, scales + t)), d, scaled + t);
    low = hn::MulAdd(weight, hn::LoadU(d, minimums + t), low);
  }
  Rounded rounded = round_to_int16(scaled, padded, out);
  rounded.sum = hn::GetLane(hn::SumOfLanes(d, low));
  return rounded;
}

// Sums of all queries [group][head_dim] += weights times the codes of tokens [token, token + count), from behind the
// sinks.
HWY_INLINE void add_packed(const PackedSide& side, int64_t head, int64_t group, int64_t token, int64_t count,
                           const SplitSpace& space, float* sums) {
  const int64_t d = side.head_dim, place = token % side.block_tokens;
  const uint8_t* block = side.block(head, token);
  const float middle = 0.5f * static_cast<float>(side.levels());
  unpack_tile(side, block, place, count, space.codes());
  const auto add = [&](int64_t first, int64_t tokens, int64_t c, int64_t n, const float* scales, const float* minimums)
                       HWY_ATTR {
                         by_four(group, [&](auto queries, int64_t q) HWY_ATTR {
                           add_codes<queries>(space.weights + q * kTile, kTile, space.of_weights + q, 1,
                                              space.codes() + (first / 2 * d + c) * 2, 2 * d, (tokens + 1) / 2,
                                              {scales, minimums, middle}, n, true, sums + q * d + c, d);
                         });
                       };
  if (side.span == 1) {
    for (int64_t c = 0; c < d; c += side.group) {
      token_fits(side, block, place, count, static_cast<int>(c / side.group), space.scales, space.minimums);
      for (int64_t q = 0; q < group; ++q) {
        space.of_weights[q] = round_weights(space.scores + q * kTile, space.scales, space.minimums, count, space.folded,
                                            space.weights + q * kTile);
      }
      for (int64_t i = 0; i < side.group; i += kPiece)
        add(0, count, c + i, side.group - i < kPiece ? side.group - i : kPiece, kOnes.ones, kOnes.ones);
    }
    return;
  }
  for (int64_t t = 0; t < count;) {
    const int64_t left = side.span == 0 ? count - t : side.span - (place + t) % side.span;
    const int64_t tokens = left < count - t ? left : count - t;
    channel_fits(side, block, place + t, space.scales, space.minimums);
    for (int64_t q = 0; q < group; ++q) {
      space.of_weights[q] = round_weights(space.scores + q * kTile + t, kOnes.ones, kOnes.ones, tokens, space.folded,
                                          space.weights + q * kTile);
    }
    add(t, tokens, 0, d, space.scales, space.minimums);
    t += tokens;
  }
}

// Scores of one query become weights; its running maximum, mass and sums are rescaled. Behind the last key weights are
// zero, up to a multiple of kLanes.
HWY_INLINE void soften_row(float* row, int64_t keys, int64_t head_dim, float& maximum, float& mass, float* sum) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  for (int64_t k = keys; k < padded; ++k) row[k] = kMasked;
  auto highest = hn::Set(d, maximum);
  for (int64_t k = 0; k < padded; k += lanes) highest = hn::Max(highest, hn::LoadU(d, row + k));
  const float before = maximum;
  maximum = hn::GetLane(hn::MaxOfLanes(d, highest));
  auto total = hn::Zero(d);
  for (int64_t k = 0; k < padded; k += lanes) {
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

// Of `count` tokens from `token` on, inside a tile of the packed part or before it, those that are read as codes.
HWY_INLINE int64_t packed_count(const PackedSide& side, int64_t token, int64_t count) {
  const int64_t behind = token - side.sinks;
  if (behind < 0 || side.codec == Codec::kBf16) return 0;
  if (side.tail_rows == 0 || side.closed - behind >= count) return count;
  return side.closed > behind ? side.closed - behind : 0;
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

  KeyScorer scorer(job, kv_head, space);
  for (int64_t key = from, count; key < to; key += count) {
    count = key < sinks ? sinks - key : kTile - (key - sinks) % kTile;
    if (count > kTile) count = kTile;
    if (count > to - key) count = to - key;
    scorer.score(key, count, packed_count(job.keys, key, count));
    for (int64_t g = 0; g < group; ++g) {
      soften_row(space.scores + g * kTile, count, head_dim, maxima[g], masses[g], sums + g * head_dim);
    }
    const int64_t packed = packed_count(job.values, key, count);
    if (packed > 0) add_packed(job.values, kv_head, group, key - sinks, packed, space, sums);
    if (packed == count) continue;
    const bf16* rows[kTile];
    for (int64_t k = packed; k < count; ++k) rows[k] = exact_row(job.values, kv_head, key + k);
    by_three(group, [&](auto queries, int64_t g) HWY_ATTR {
      add_rows<queries>(space.scores + g * kTile + packed, rows + packed, count - packed, head_dim,
                        sums + g * head_dim);
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
