// Decode: one query token against its keys, split among threads by context; one instance a Highway target. Included by
// kernels.cc after split_products-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Scores of all queries, in units of log 2, become weights, the largest of each query to `largest` [group] and a
// vector; running maxima, masses and sums are rescaled. Behind the last key weights are zero, up to a multiple of
// kLanes.
HWY_INLINE void soften_rows(float* scores, int64_t group, int64_t keys, int64_t head_dim, float* maxima, float* masses,
                            float* sums, float* largest) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t k = keys; k < padded; ++k) scores[g * kRun + k] = kMasked;
  }
  in_parts<kMostRounded>(group, [&](auto queries, int64_t g) HWY_ATTR {
    const float* rows = scores + g * kRun;
    VF highest[queries];
    repeat<queries>([&](auto q) KVPARETO_EXPANDED { highest[q] = hn::LoadU(d, rows + q * kRun); });
    for (int64_t k = lanes; k < padded; k += lanes) {
      repeat<queries>([&](auto q)
                          KVPARETO_EXPANDED { highest[q] = hn::Max(highest[q], hn::LoadU(d, rows + q * kRun + k)); });
    }
    join_all(Highest(), highest, largest + g);
  });
  for (int64_t g = 0; g < group; g += lanes) {
    const auto held = hn::FirstN(d, static_cast<size_t>(group - g));
    const auto before = hn::MaskedLoad(held, d, maxima + g), highest = hn::LoadU(d, largest + g);
    const auto most = hn::Max(before, highest), shrink = power_of_two(d, hn::Sub(before, most));
    hn::BlendedStore(most, held, d, maxima + g);
    hn::BlendedStore(hn::Mul(hn::MaskedLoad(held, d, masses + g), shrink), held, d, masses + g);
    hn::StoreU(power_of_two(d, hn::Sub(highest, most)), d, largest + g);
    HWY_ALIGN float shrinks[kRowMultiple];
    hn::Store(shrink, d, shrinks);
    for (int64_t i = 0; i < lanes && g + i < group; ++i) {
      float* row = sums + (g + i) * head_dim;
      const auto factor = hn::Set(d, shrinks[i]);
      for (int64_t c = 0; c < head_dim; c += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + c), factor), d, row + c);
    }
  }
  in_parts<kMostRounded>(group, [&](auto queries, int64_t g) HWY_ATTR {
    VF totals[queries];
    for (int q = 0; q < queries; ++q) {
      float* row = scores + (g + q) * kRun;
      const auto maximum = hn::Set(d, maxima[g + q]);
      auto total = hn::Zero(d);
      for (int64_t k = 0; k < padded; k += lanes) {
        const auto p = power_of_two(d, hn::Sub(hn::LoadU(d, row + k), maximum));
        hn::StoreU(p, d, row + k);
        total = hn::Add(total, p);
      }
      totals[q] = total;
    }
    float sums_of[(queries + 3) / 4 * 4];
    join_all(Adding(), totals, sums_of);
    for (int q = 0; q < queries; ++q) masses[g + q] += sums_of[q];
  });
}

// Keys [from, to), to a partial result. `from` is 0 or a multiple of kTile behind the sinks.
template <typename KeyKind, typename ValueKind>
HWY_INLINE void attend_keys(const AttendJob& job, int64_t kv_head, const SplitSpace& space, KeyScorer<KeyKind>& scorer,
                            int64_t from, int64_t to, float* partial) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = job.head_dim, group = job.group();
  float* maxima = partial;
  float* masses = partial + whole_lines(group);
  float* sums = partial + 2 * whole_lines(group);
  for (int64_t g = 0; g < group; ++g) {
    maxima[g] = kMasked;
    masses[g] = 0;
  }
  for (int64_t i = 0; i < group * head_dim; i += lanes) hn::StoreU(hn::Zero(d), d, sums + i);
  ValueAdder<ValueKind> adder(job, kv_head, space, sums);
  for (int64_t key = from, count; key < to; key += count) {
    count = run_tokens(job.keys, key, to);
    scorer.score(key, count);
    soften_rows(space.scores, group, count, head_dim, maxima, masses, sums, space.largest);
    adder.add(key, count);
  }
}

template <typename KeyKind, typename ValueKind>
HWY_INLINE void attend_splits_by(const AttendJob& job, const SplitJob& splits, float* scratch) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = job.head_dim, group = job.group(), head = splits.kv_head;
  const SplitSpace space(scratch, group, head_dim);
  const auto scale = hn::Set(d, kLog2E / __builtin_sqrtf(static_cast<float>(head_dim)));
  const float* given = job.queries.row<float>(splits.query) + head * group * head_dim;
  for (int64_t i = 0; i < group * head_dim; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, given + i), scale), d, space.queries + i);
  for (int64_t i = 0; i < kRowMultiple; i += lanes) hn::StoreU(hn::Zero(d), d, space.largest + group + i);

  KeyScorer<KeyKind> scorer(job, head, space);
  const int64_t step = split_size(job.first + job.queries.rows()), end = job.first + splits.query + 1;
  float* partial = splits.partials;
  for (int64_t s = splits.first; s < splits.last; ++s, partial += partial_size(job.group(), job.head_dim)) {
    const int64_t from = s == 0 ? 0 : s * step + job.keys.sinks, to = (s + 1) * step + job.keys.sinks;
    attend_keys<KeyKind, ValueKind>(job, head, space, scorer, from < end ? from : end, to < end ? to : end, partial);
  }
}

void attend_splits(const AttendJob& job, const SplitJob& splits, float* scratch) {
  with_kind<false>(job.keys, [&](auto keys) HWY_ATTR {
    with_kind<true>(job.values, [&](auto values) HWY_ATTR {
      attend_splits_by<decltype(keys), decltype(values)>(job, splits, scratch);
    });
  });
}

// Sums of the first split are overwritten by the result.
void join_splits(const AttendJob& job, int64_t kv_head, int64_t query, float* partials, int64_t splits) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = job.head_dim, group = job.group(),
                size = partial_size(static_cast<int>(group), job.head_dim);
  for (int64_t g = 0; g < group; ++g) {
    float maximum = kMasked, mass = 0;
    for (int64_t s = 0; s < splits; ++s) maximum = maximum > partials[s * size + g] ? maximum : partials[s * size + g];
    float weights[kMostSplits];
    static_assert(kMostSplits % static_cast<int64_t>(hn::MaxLanes(DF())) == 0);
    for (int64_t s = 0; s < kMostSplits; ++s) weights[s] = s < splits ? partials[s * size + g] - maximum : kMasked;
    for (int64_t s = 0; s < kMostSplits; s += lanes)
      hn::StoreU(power_of_two(d, hn::LoadU(d, weights + s)), d, weights + s);
    for (int64_t s = 0; s < splits; ++s) mass += weights[s] * partials[s * size + whole_lines(group) + g];
    float* row = partials + 2 * whole_lines(group) + g * head_dim;
    const auto share = hn::Set(d, 1.0f / mass);
    for (int64_t c = 0; c < head_dim; c += lanes) {
      auto sum = hn::Zero(d);
      for (int64_t s = 0; s < splits; ++s)
        sum = hn::MulAdd(hn::Set(d, weights[s]), hn::LoadU(d, row + s * size + c), sum);
      hn::StoreU(hn::Mul(sum, share), d, row + c);
    }
    finish_row(job, query, kv_head * group + g, row);
  }
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
