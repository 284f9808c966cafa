// Rounding of inputs in AVX-512, four blocks of 32 at a time. Included by vnni_linear.cc behind the files that it uses.

// The largest bits of each of four vectors, in turn in every lane of 128 bits.
inline __m512i largest_of_four(const __m512i (&v)[4]) {
  const auto halved = [](__m512i a, __m512i b) {
    return _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i first = halved(v[0], v[1]), second = halved(v[2], v[3]);
  __m512i all = _mm512_max_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  all = _mm512_max_epi32(all, _mm512_shuffle_i32x4(all, all, 0x4e));
  return _mm512_max_epi32(all, _mm512_shuffle_i32x4(all, all, 0xb1));
}

// Two blocks as codes, one behind the other, of two vectors each; `scale` has what each is multiplied by.
inline __m512i codes_of_two(const __m512* in, __m512 first, __m512 second) {
  const auto whole = [](__m512 x, __m512 scale) { return _mm512_cvtps_epi32(_mm512_mul_ps(x, scale)); };
  const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(whole(in[0], first), whole(in[1], first)),
                                            _mm512_packs_epi32(whole(in[2], second), whole(in[3], second)));
  // Packing works on lanes of 128 bits: their fours are put back in order.
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed);
}

// Sums of sixteen neighbouring codes each, in all of a lane of 128 bits.
inline __m512i sums_of_sixteen(__m512i codes) {
  __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
  sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_BADC));
  return _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_CDAB));
}

// Sixteen numbers.
inline __m512 load_numbers(const float* x) { return _mm512_loadu_ps(x); }
inline __m512 load_numbers(const bf16* x) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// round_inputs() of host_linear.h for each block of a row.
template <typename Number>
class RowRounder {
 public:
  RowRounder(const Number* x, const WeightFormat& format, const RoundedRow& row, float* sums)
      : x_(x),
        row_(row),
        sums_(sums),
        totals_(Vectors::takes_offsets(info_of(format.codec))),
        halved_(format.sub() == 16),
        level_(_mm256_set1_epi32(-level_of(info_of(format.codec)))) {}

  void round(int64_t columns) const {
    int64_t c = 0;
    for (; c + kBlocks * kPanelColumns <= columns; c += kBlocks * kPanelColumns) {
      round_blocks(c, std::integral_constant<int, kBlocks>());
    }
    if (c < columns) round_blocks(c, static_cast<int>((columns - c) / kPanelColumns));
  }

 private:
  static constexpr int kBlocks = 4;

  // So many blocks from column c on, a constant where there are four.
  template <typename Count>
  KVPARETO_INLINE void round_blocks(int64_t c, Count blocks) const {
    const __m512i sizes = _mm512_set1_epi32(0x7fffffff);
    const __m512i of_halves = _mm512_setr_epi32(0, 8, 16, 24, 4, 12, 20, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512 in[2 * kBlocks];
    __m512i bits[kBlocks];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      in[2 * b] = b < blocks ? load_numbers(x_ + c + 32 * b) : _mm512_setzero_ps();
      in[2 * b + 1] = b < blocks ? load_numbers(x_ + c + 32 * b + 16) : _mm512_setzero_ps();
      bits[b] = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(in[2 * b]), sizes),
                                 _mm512_and_si512(_mm512_castps_si512(in[2 * b + 1]), sizes));
    }
    const __m128i most_bits = _mm512_castsi512_si128(largest_of_four(bits));
    const __m128 most = _mm_castsi128_ps(most_bits), all = _mm_set1_ps(127);
    const __mmask8 counts = _mm_cmp_ps_mask(most, _mm_set1_ps(kSmallestInput), _CMP_GT_OQ);
    const __mmask8 finite = _mm_cmplt_epi32_mask(most_bits, _mm_set1_epi32(0x7f800000));
    const __m512 inverse = _mm512_broadcast_f32x4(_mm_maskz_div_ps(counts, all, most));
    const __m128 scale = _mm_mask_div_ps(_mm_set1_ps(__builtin_nanf("")), finite, most, all);
    const __m512i first = codes_of_two(in, _mm512_permute_ps(inverse, 0x00), _mm512_permute_ps(inverse, 0x55));
    const __m512i second = codes_of_two(in + 4, _mm512_permute_ps(inverse, 0xaa), _mm512_permute_ps(inverse, 0xff));
    const __m256i codes[kBlocks] = {_mm512_castsi512_si256(first), _mm512_extracti64x4_epi64(first, 1),
                                    _mm512_castsi512_si256(second), _mm512_extracti64x4_epi64(second, 1)};
    // Sums of first halves, then of second ones.
    const __m256i halves =
        _mm512_castsi512_si256(_mm512_permutex2var_epi32(sums_of_sixteen(first), of_halves, sums_of_sixteen(second)));
    const __m256i wholes = _mm256_add_epi32(halves, _mm256_permute4x64_epi64(halves, 0x4e));
    alignas(32) int32_t starts[2 * kBlocks];
    alignas(16) float scales[kBlocks];
    _mm_store_ps(scales, scale);
    _mm256_store_si256(reinterpret_cast<__m256i*>(starts), _mm256_mullo_epi32(halved_ ? halves : wholes, level_));
    for (int b = 0; b < blocks; ++b) {
      const int64_t column = c + b * kPanelColumns;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row_.block(column)), codes[b]);
      row_.scale(column) = scales[b];
      if (totals_) continue;
      if (halved_) {
        row_.starts[column / 16 * row_.tokens] = starts[b];
        row_.starts[(column / 16 + 1) * row_.tokens] = starts[kBlocks + b];
      } else {
        row_.starts[column / 32 * row_.tokens] = starts[b];
      }
    }
    if (!totals_) return;
    alignas(16) float of_blocks[kBlocks];
    _mm_store_ps(of_blocks, _mm_mul_ps(scale, _mm_cvtepi32_ps(_mm256_castsi256_si128(wholes))));
    std::copy_n(of_blocks, blocks, sums_ + c / kPanelColumns);
  }

  const Number* x_;
  const RoundedRow& row_;
  float* sums_;
  bool totals_, halved_;
  __m256i level_;
};
// Totals are written for every block.
static_assert(std::ranges::all_of(kWeightCodecs, [](const WeightCodecInfo& info) {
  return !Vectors::takes_offsets(info) || WeightFormat{info.codec, 0}.sub() == kPanelColumns;
}));

void round_row(const Tensor& x, const WeightFormat& format, const RoundedRow& row, float* sums) {
  if (x.type == DType::kF32) return RowRounder(x.as<float>(), format, row, sums).round(x.columns());
  RowRounder(x.as<bf16>(), format, row, sums).round(x.columns());
}
