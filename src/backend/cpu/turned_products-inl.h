// Scores of a decode step's few queries against keys before RoPE, turned where they are multiplied; one instance a
// Highway target. Included by kernels.cc after code_products-inl.h and turned_codes-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
// Of tokens [first, first + tokens) of a tile at `place` of a block: out[i][t] = step_i of_tokens[t] sum(x[i] key[t]),
// x int16 [kCount][head_dim]; up to a multiple of kCodeVectors vectors of tokens is written. Turning takes as much of
// the ports that products need as three queries do, and the others while products wait for theirs.
template <Codec kCodec, int kCount, typename Values>
HWY_NOINLINE void score_turned_tokens(const PackedSide& side, const uint8_t* block, int64_t place, int64_t first,
                                      int64_t tokens, const Values& values, const int16_t* x, const float* steps,
                                      const float* of_tokens, float* out, int64_t out_stride) {
  constexpr int kVectors = kCodeVectors;
  const DF d;
  const DWide dw;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = side.head_dim, half = head_dim / 2;
  const auto bytes = static_cast<int64_t>(chunk_bytes(kCodec)), across = head_dim / kFour * bytes;
  const int64_t ahead = kBlocksAhead * static_cast<int64_t>(side.block_bytes);
  const uint8_t* chunks = block + side.code_place(place + first, 0).chunk * bytes;
  for (int64_t t = first; t < first + tokens; t += kVectors * lanes, chunks += kChunksAbreast * across) {
    Sums totals[kCount][kVectors] = {};
    const uint8_t* chunk = chunks;
    const int16_t* numbers = x;
    for (int64_t c = 0; c < half; c += kFour, chunk += bytes, numbers += kFour) {
      const uint8_t* other = chunk + half / kFour * bytes;
      Wide a[2][kVectors], b[2][kVectors];
      repeat<static_cast<int>(kChunksAbreast)>([&](auto k) KVPARETO_EXPANDED {
        Wide one[kWides], next[kWides];
        const auto unpack = [&](const uint8_t* from, Wide(&to)[2][kVectors]) KVPARETO_EXPANDED {
          tell(from + k * across + ahead);
          unpack_pairs<kCodec>(from + k * across, one, next);
          repeat<kWides>([&](auto i) KVPARETO_EXPANDED {
            to[0][k * kWides + i] = one[i];
            to[1][k * kWides + i] = next[i];
          });
        };
        unpack(chunk, a);
        unpack(other, b);
      });
      repeat<2>([&](auto row) KVPARETO_EXPANDED {
        const TurnedPairs<kCodec, Values> pairs(side, side.turns_fixed, values, c + 2 * row);
        repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
          pairs.turn(2 * t + v * static_cast<int64_t>(hn::Lanes(dw)), a[row][v], b[row][v]);
        });
        repeat<kCount>([&](auto i) KVPARETO_EXPANDED {
          const int16_t* number = numbers + i * head_dim + 2 * row;
          const Pairs of_a = same_pairs(number), of_b = same_pairs(number + half);
          repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
            totals[i][v] = add_products(of_b, b[row][v], add_products(of_a, a[row][v], totals[i][v]));
          });
        });
      });
    }
    repeat<kCount>([&](auto i) KVPARETO_EXPANDED {
      const auto step = hn::Set(d, steps[i]);
      repeat<kVectors>([&](auto v) KVPARETO_EXPANDED {
        const int64_t at = t + v * lanes;
        const auto score = hn::Mul(hn::ConvertTo(d, lanes_of(totals[i][v])), hn::LoadU(d, of_tokens + at));
        hn::StoreU(hn::Mul(score, step), d, out + i * out_stride + at);
      });
    });
  }
}
#endif

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
