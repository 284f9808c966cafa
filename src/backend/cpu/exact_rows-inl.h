// Products of queries and weights with rows of bf16 as they lie; one instance a Highway target. Included by kernels.cc
// after products-inl.h. Even and odd channels of a vector of pairs widen in one instruction each. The memory is told of
// the next tile's rows, which lie behind this one's.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

HWY_INLINE void widen_pairs(const bf16* in, VF& even, VF& odd) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(in));
  even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000u)));
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

// scores[q][k] = dot(queries[q], rows[k]) for k < count; queries [kCount][n] as split_pairs() leaves them.
template <int kCount>
HWY_INLINE void score_rows(const float* queries, int64_t n, const bf16* const* rows, int64_t count, float* scores) {
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
        tell(row[i] + c + kTile * n);
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

// sums[q][c] += sum over k < count of weights[q][k] * rows[k][c].
template <int kCount>
HWY_INLINE void add_rows(const float* weights, const bf16* const* rows, int64_t count, int64_t n, float* sums) {
  constexpr int kPairs = HWY_TARGET == HWY_SCALAR ? 1 : (kCount > 3 ? 1 : 2);
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
        tell(rows[k] + c + 2 * v * lanes + kTile * n);
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
  for (; c + 2 * kPairs * lanes <= n; c += 2 * kPairs * lanes) add(std::integral_constant<int, kPairs>(), c);
  for (; c < n; c += 2 * lanes) add(std::integral_constant<int, 1>(), c);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
