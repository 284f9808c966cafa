// Products of queries and weights with rows of bf16 as they lie; one instance a Highway target. Included by kernels.cc
// after products-inl.h. Even and odd channels of a vector of pairs widen in one instruction each.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

// Vectors of pairs of a value that are multiplied together.
constexpr int kPairsAtOnce = HWY_TARGET == HWY_SCALAR ? 1 : 2;
constexpr int64_t kChannelsAtOnce = 2 * kPairsAtOnce * static_cast<int64_t>(hn::MaxLanes(DF()));

HWY_INLINE void widen_pairs(const bf16* in, VF& even, VF& odd) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(in));
  even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

// Tells the memory of a line ahead of this one of a row of n numbers: rows that are wanted next lie behind it. Those
// that are read as they lie, line by line, the processor fetches by itself as soon as it sees some asked for, sooner
// than by a second-level cache that is told of each (bench/results/2026-12-01-xeon-amx-2core.md).
HWY_INLINE void tell_ahead(const bf16* line, int64_t n) {
  constexpr int64_t kNear = 2560 / sizeof(bf16);
  if (n <= kChannelsAtOnce) {
    __builtin_prefetch(line + kNear);
  } else {
    tell(line + kTile * n);
  }
}

// Each two vectors of x as its even, then its odd elements.
HWY_INLINE void split_pairs(const float* x, int64_t n, float* out) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < n; c += 2 * lanes) {
    VF even, odd;
    hn::LoadInterleaved2(d, x + c, even, odd);
    hn::StoreU(even, d, out + c);
    hn::StoreU(odd, d, out + c + lanes);
  }
}

// scores[q][k] = dot(queries[q], rows[k]) for k < count; queries [kCount][n] as split_pairs() leaves them. The first
// queries that meet these rows tell the memory of those ahead.
template <int kCount>
HWY_INLINE void score_rows(const float* queries, int64_t n, const bf16* const* rows, int64_t count, bool first,
                           float* scores) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < count; k += 4) {
    const bf16* row[4];
    for (int i = 0; i < 4; ++i) row[i] = rows[k + i < count ? k + i : k];
    VF sums[kCount][4];
    repeat<kCount>([&](auto q)
                       KVPARETO_EXPANDED { repeat<4>([&](auto i) KVPARETO_EXPANDED { sums[q][i] = hn::Zero(d); }); });
    for (int64_t c = 0; c < n; c += 2 * lanes) {
      repeat<4>([&](auto i) KVPARETO_EXPANDED {
        VF even, odd;
        if (first) tell_ahead(row[i] + c, n);
        widen_pairs(row[i] + c, even, odd);
        repeat<kCount>([&](auto q) KVPARETO_EXPANDED {
          sums[q][i] = hn::MulAdd(even, hn::LoadU(d, queries + q * n + c), sums[q][i]);
          sums[q][i] = hn::MulAdd(odd, hn::LoadU(d, queries + q * n + c + lanes), sums[q][i]);
        });
      });
    }
    repeat<kCount>([&](auto q) KVPARETO_EXPANDED {
      float* place = scores + q * kRun + k;
      float four[4];
      join_lanes(Adding(), sums[q][0], sums[q][1], sums[q][2], sums[q][3], k + 4 <= count ? place : four);
      for (int i = 0; i < 4 && k + 4 > count && k + i < count; ++i) place[i] = four[i];
    });
  }
}

// sums[q][c] += sum over k < count of weights[q][k] * rows[k][c]; `first` as above.
template <int kCount>
HWY_INLINE void add_rows(const float* weights, const bf16* const* rows, int64_t count, int64_t n, bool first,
                         float* sums) {
  const DF d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto add = [&](auto number, int64_t c) HWY_ATTR {
    constexpr int pairs = decltype(number)::value;
    VF even[kCount][pairs], odd[kCount][pairs];
    repeat<kCount>([&](auto q) KVPARETO_EXPANDED {
      repeat<pairs>([&](auto v) KVPARETO_EXPANDED {
        hn::LoadInterleaved2(d, sums + q * n + c + 2 * v * lanes, even[q][v], odd[q][v]);
      });
    });
    for (int64_t k = 0; k < count; ++k) {
      VF low[pairs], high[pairs];
      repeat<pairs>([&](auto v) KVPARETO_EXPANDED {
        if (first) tell_ahead(rows[k] + c + 2 * v * lanes, n);
        widen_pairs(rows[k] + c + 2 * v * lanes, low[v], high[v]);
      });
      repeat<kCount>([&](auto q) KVPARETO_EXPANDED {
        const auto weight = hn::Set(d, weights[q * kRun + k]);
        repeat<pairs>([&](auto v) KVPARETO_EXPANDED {
          even[q][v] = hn::MulAdd(weight, low[v], even[q][v]);
          odd[q][v] = hn::MulAdd(weight, high[v], odd[q][v]);
        });
      });
    }
    repeat<kCount>([&](auto q) KVPARETO_EXPANDED {
      repeat<pairs>([&](auto v) KVPARETO_EXPANDED {
        hn::StoreInterleaved2(even[q][v], odd[q][v], d, sums + q * n + c + 2 * v * lanes);
      });
    });
  };
  int64_t c = 0;
  for (; c + kChannelsAtOnce <= n; c += kChannelsAtOnce) add(std::integral_constant<int, kPairsAtOnce>(), c);
  for (; c < n; c += 2 * lanes) add(std::integral_constant<int, 1>(), c);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
