// Prefill attention with products of bf16, whatever multiplies them. Included by the files of the instructions that do,
// inside their namespace and their target, after avx512_helpers-inl.h. Same plan as attention-inl.h, query rows in the
// lanes:
//   left   bf16 [i][j], row-major: keys as they are, values transposed
//   right  bf16 [j / 2][row][2]: queries, and the weights of the keys
//   sums   f32 [i][row]
// A factor that bf16 cannot hold stands as one bf16 or as the sum of two (high and low, 16 bits of mantissa; the
// product of the two lows is left out).

constexpr float kMasked = -1e30f;

inline __m512i widened(__m512 x) { return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x))); }

// A number as one bf16 or as the sum of two; `low` is null where there is none.
struct Split {
  const bf16* high;
  const bf16* low;
};

// sums[i][r] (+)= sum over j of left[i][j] * right[j][r]; i a multiple of 32, j of 32, rows of 16.
struct Product {
  Split left, right;
  int64_t out, inner, rows;  // extents of i, j, r
  int64_t left_stride;       // elements
  float* sums;
  bool accumulate;

  // Calls body(left, right) for the products that make up that of two sums.
  template <typename Body>
  void each_term(Body body) const {
    body(left.high, right.high);
    if (right.low != nullptr) body(left.high, right.low);
    if (left.low != nullptr) body(left.low, right.high);
  }
};

// --- tiles of keys and values

// f32 to high and low, each 16 values in the low halves of 32-bit lanes.
struct SplitLanes {
  __m512i high, low;
};
inline SplitLanes split(__m512 x) {
  const __m512i high = widened(x);
  return {high, widened(_mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16))))};
}

// Decoded rows [kTile][head_dim], rows past `keys` zero; where the cache holds bf16, the cache's own bytes.
Split split_rows(const PackedSide& side, const CpuKernels& vectors, int64_t head, int64_t key, int64_t keys,
                 float* decoded, bf16* high, bf16* low) {
  const bool exact = side.plain_bf16();
  if (exact && keys == kTile) return {reinterpret_cast<const bf16*>(side.block(head, key)), nullptr};
  vectors.decode(side, head, key, keys, decoded);
  const int64_t n = keys * side.head_dim;
  for (int64_t i = 0; i < n; i += 16) {
    const SplitLanes lanes = split(_mm512_loadu_ps(decoded + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(high + i), _mm512_cvtepi32_epi16(lanes.high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(low + i), _mm512_cvtepi32_epi16(lanes.low));
  }
  for (int64_t i = n; i < kTile * side.head_dim; i += 32) {
    _mm512_storeu_si512(high + i, _mm512_setzero_si512());
    _mm512_storeu_si512(low + i, _mm512_setzero_si512());
  }
  return {high, exact ? nullptr : low};
}

// Values [kTile][head_dim] to [head_dim][kTile].
void transpose_values(const bf16* values, int64_t head_dim, bf16* out) {
  const Pairing pairing;
  for (int64_t t = 0; t < kTile; t += 32) {
    for (int64_t c = 0; c < head_dim; c += 32) {
      __m512i first[16], second[16];  // token pairs of channels [c, c + 16) and [c + 16, c + 32)
      for (int64_t pair = 0; pair < 16; ++pair) {
        const __m512i a = _mm512_loadu_si512(values + (t + 2 * pair) * head_dim + c);
        const __m512i b = _mm512_loadu_si512(values + (t + 2 * pair + 1) * head_dim + c);
        first[pair] = pairing.low(a, b);
        second[pair] = pairing.high(a, b);
      }
      transpose(first);
      transpose(second);
      for (int64_t i = 0; i < 16; ++i) {
        _mm512_storeu_si512(out + (c + i) * kTile + t, first[i]);
        _mm512_storeu_si512(out + (c + 16 + i) * kTile + t, second[i]);
      }
    }
  }
}

// --- softmax

// The bits of x, its upper half rounded to the nearest bf16, ties away from zero. Half the work of vcvtneps2bf16, which
// is two instructions and leaves what must be widened again.
inline __m512i rounded_up(__m512 x) { return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)); }
// The upper halves of two vectors, in turn.
inline __m512i upper_halves(__m512i even, __m512i odd) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(even, 16), odd);
}

// Scores of `keys` keys, in units of log 2, become weights; see soften() of attention-inl.h. Weights of a tile's
// missing keys are 0. They go to high and low, or to high alone.
template <bool kTwo>
void soften(const float* scores, int64_t keys, int64_t rows, float* maxima, float* masses, float* sums,
            int64_t head_dim, bf16* high, bf16* low) {
  for (int64_t r = 0; r < rows; r += 16) {
    const __m512 before = _mm512_loadu_ps(maxima + r);
    __m512 highest = before;
    for (int64_t k = 0; k < keys; ++k) highest = _mm512_max_ps(highest, _mm512_loadu_ps(scores + k * rows + r));
    __m512 mass = _mm512_setzero_ps();
    for (int64_t k = 0; k < kTile; k += 2) {
      __m512 even = _mm512_setzero_ps(), odd = even;
      if (k < keys) even = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(scores + k * rows + r), highest));
      if (k + 1 < keys) odd = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(scores + (k + 1) * rows + r), highest));
      mass = _mm512_add_ps(mass, _mm512_add_ps(even, odd));
      const __m512i even_high = rounded_up(even), odd_high = rounded_up(odd);
      _mm512_storeu_si512(high + k * rows + 2 * r, upper_halves(even_high, odd_high));
      if constexpr (kTwo) {
        const auto rest = [](__m512 x, __m512i bits) {
          return rounded_up(_mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(-65536)))));
        };
        _mm512_storeu_si512(low + k * rows + 2 * r, upper_halves(rest(even, even_high), rest(odd, odd_high)));
      }
    }
    const __m512 shrink = power_of_two(_mm512_sub_ps(before, highest));
    _mm512_storeu_ps(maxima + r, highest);
    _mm512_storeu_ps(masses + r, _mm512_fmadd_ps(_mm512_loadu_ps(masses + r), shrink, mass));
    if (_mm512_cmp_ps_mask(before, highest, _CMP_NEQ_OQ) == 0) continue;
    for (int64_t c = 0; c < head_dim; ++c) {
      float* sum = sums + c * rows + r;
      _mm512_storeu_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(sum), shrink));
    }
  }
}

void mask_future(float* scores, int64_t keys, int64_t block, int64_t rows, int64_t ahead) {
  alignas(64) float lane[16];
  for (int i = 0; i < 16; ++i) lane[i] = static_cast<float>(i);
  for (int64_t k = 0; k < keys; ++k) {
    const __m512 key = _mm512_set1_ps(static_cast<float>(ahead + k));
    for (int64_t r = 0; r < rows; r += 16) {
      const __m512 query = _mm512_add_ps(_mm512_load_ps(lane), _mm512_set1_ps(static_cast<float>(r % block)));
      const __mmask16 future = _mm512_cmp_ps_mask(key, query, _CMP_GT_OQ);
      _mm512_mask_storeu_ps(scores + k * rows + r, future, _mm512_set1_ps(kMasked));
    }
  }
}

// --- one block of queries

struct BlockSpace {
  bf16 *query_high, *query_low;    // [head_dim / 2][rows][2]
  bf16 *weight_high, *weight_low;  // [kTile / 2][rows][2]
  bf16 *row_high, *row_low;        // [kTile][head_dim]
  bf16 *turned_high, *turned_low;  // [head_dim][kTile]; share the bytes of `decoded`, which is done by then
  float* decoded;                  // [kTile][head_dim]
  float* scores;                   // [kTile][rows]
  float* sums;                     // [head_dim][rows]
  float* maxima;
  float* masses;
  BlockSpace(float* scratch, int64_t head_dim, int64_t rows) {
    const auto take = [&](int64_t floats) {
      float* part = scratch;
      scratch += floats;
      return part;
    };
    const auto take_two = [&](int64_t each, bf16*& high, bf16*& low) {
      high = reinterpret_cast<bf16*>(take(each));
      low = high + each;
    };
    take_two(head_dim * rows, query_high, query_low);
    take_two(kTile * rows, weight_high, weight_low);
    take_two(kTile * head_dim, row_high, row_low);
    decoded = take(kTile * head_dim);
    turned_high = reinterpret_cast<bf16*>(decoded);
    turned_low = turned_high + kTile * head_dim;
    scores = take(kTile * rows);
    sums = take(head_dim * rows);
    maxima = take(rows);
    masses = take(rows);
  }
};

// Sixteen rows of 32 numbers, turned: pairs of channels one below the other, the rows in the lanes.
inline void store_turned(__m512i (&pairs)[16], int64_t rows, bf16* out) {
  transpose(pairs);
  for (int64_t i = 0; i < 16; ++i) _mm512_storeu_si512(out + i * 2 * rows, pairs[i]);
}

// Queries times what scores are in, bf16 [head_dim / 2][rows][2]; those that a block lacks are zero. head_dim is a
// multiple of 32, a block of 16.
template <bool kTwo>
void load_queries(const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, int64_t rows, bf16* high,
                  bf16* low) {
  const int64_t head_dim = job.head_dim, group = job.group(), block = job.queries_per_block;
  const __m512 scale = _mm512_set1_ps(kLog2E / __builtin_sqrtf(static_cast<float>(head_dim)));
  for (int64_t row = 0; row < rows; row += 16) {
    const int64_t g = row / block, first = row % block;
    for (int64_t c = 0; c < head_dim; c += 32) {
      __m512i highs[16], lows[16];
      for (int64_t t = 0; t < 16; ++t) {
        highs[t] = lows[t] = _mm512_setzero_si512();
        if (first + t >= count) continue;
        const float* query = job.queries.row<float>(begin + first + t) + (kv_head * group + g) * head_dim + c;
        const __m512 even = _mm512_mul_ps(_mm512_loadu_ps(query), scale);
        const __m512 odd = _mm512_mul_ps(_mm512_loadu_ps(query + 16), scale);
        highs[t] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
        if constexpr (kTwo) {
          const auto rest = [](__m512 x, __m256i rounded) {
            return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
          };
          lows[t] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(rest(odd, _mm512_extracti64x4_epi64(highs[t], 1)),
                                                                  rest(even, _mm512_castsi512_si256(highs[t]))));
        }
      }
      store_turned(highs, rows, high + c * rows + 2 * row);
      if constexpr (kTwo) store_turned(lows, rows, low + c * rows + 2 * row);
    }
  }
}

void store_sums(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                int64_t rows, const BlockSpace& space) {
  const int64_t head_dim = job.head_dim, group = job.group(), block = job.queries_per_block;
  for (int64_t row = 0; row < rows; row += 16) {
    const int64_t g = row / block, first = row % block;
    if (first >= count) continue;
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1), _mm512_loadu_ps(space.masses + row));
    for (int64_t c = 0; c < head_dim; c += 16) {
      __m512i lanes[16];
      for (int64_t i = 0; i < 16; ++i) {
        lanes[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_loadu_ps(space.sums + (c + i) * rows + row), inverse));
      }
      transpose(lanes);
      for (int64_t t = 0; t < 16; ++t) _mm512_storeu_si512(space.decoded + t * head_dim + c, lanes[t]);
    }
    for (int64_t t = 0; t < 16 && first + t < count; ++t) {
      vectors.finish_row(job, begin + first + t, kv_head * group + g, space.decoded + t * head_dim);
    }
  }
}

// As CpuKernels::attend_block; `vectors` decode rows and finish them, multiply(Product) is the instructions'. Queries
// and weights stand as two bf16 or as one.
template <bool kTwo, typename Multiply>
void attend_block_by(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                     float* scratch, Multiply multiply) {
  const int64_t head_dim = job.head_dim, block = job.queries_per_block, rows = block * job.group();
  const BlockSpace space(scratch, head_dim, rows);
  load_queries<kTwo>(job, kv_head, begin, count, rows, space.query_high, space.query_low);
  for (int64_t i = 0; i < head_dim * rows; ++i) space.sums[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    space.maxima[r] = kMasked;
    space.masses[r] = 0;
  }
  const Split queries{space.query_high, kTwo ? space.query_low : nullptr};
  const Split weights{space.weight_high, kTwo ? space.weight_low : nullptr};
  const int64_t position = job.first + begin, end = position + count;
  for (int64_t key = 0; key < end; key += kTile) {
    const int64_t keys = end - key < kTile ? end - key : kTile;
    const Split k = split_rows(job.keys, vectors, kv_head, key, keys, space.decoded, space.row_high, space.row_low);
    multiply(Product{k, queries, kTile, head_dim, rows, head_dim, space.scores, false});
    if (key + keys - 1 > position) mask_future(space.scores, keys, block, rows, key - position);
    soften<kTwo>(space.scores, keys, rows, space.maxima, space.masses, space.sums, head_dim, space.weight_high,
                 space.weight_low);
    const Split v = split_rows(job.values, vectors, kv_head, key, keys, space.decoded, space.row_high, space.row_low);
    transpose_values(v.high, head_dim, space.turned_high);
    if (v.low != nullptr) transpose_values(v.low, head_dim, space.turned_low);
    const Split turned{space.turned_high, v.low != nullptr ? space.turned_low : nullptr};
    multiply(Product{turned, weights, head_dim, kTile, rows, kTile, space.sums, true});
  }
  store_sums(job, vectors, kv_head, begin, count, rows, space);
}
