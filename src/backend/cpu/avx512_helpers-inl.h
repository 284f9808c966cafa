// What the files of AMX and of products of bf16 share in AVX-512. Included inside their namespace and their target.

// Numbers of 16 bits of a vector, by their places.
struct alignas(64) Words {
  uint16_t words[32] = {};
  template <typename Word>
  explicit constexpr Words(Word word) {
    for (int i = 0; i < 32; ++i) words[i] = static_cast<uint16_t>(word(i));
  }
  __m512i load() const { return _mm512_load_si512(words); }
};

// 2^x to 2e-7 relative; beyond the range of f32 it is 0 or infinite.
inline __m512 power_of_two(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 part = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_set1_ps(kHighestOfPower);
  for (const float coefficient : kPowerOfTwo) sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(coefficient));
  return _mm512_scalef_ps(sum, whole);
}

// Two rows of 32 numbers of 16 bits as 32 pairs, 16 in each vector.
struct Pairing {
  static constexpr Words kLow{[](int i) { return i / 2 + i % 2 * 32; }};
  static constexpr Words kHigh{[](int i) { return 16 + i / 2 + i % 2 * 32; }};
  __m512i take_low, take_high;
  Pairing() : take_low(kLow.load()), take_high(kHigh.load()) {}
  __m512i low(__m512i a, __m512i b) const { return _mm512_permutex2var_epi16(a, take_low, b); }
  __m512i high(__m512i a, __m512i b) const { return _mm512_permutex2var_epi16(a, take_high, b); }
};

// 16 x 16 elements of 32 bits: element j of row i becomes element i of row j.
inline void transpose(__m512i (&rows)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]), b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]),
                  d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    t[i] = _mm512_unpacklo_epi64(a, c);
    t[i + 1] = _mm512_unpackhi_epi64(a, c);
    t[i + 2] = _mm512_unpacklo_epi64(b, d);
    t[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88),
                  d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    rows[i] = _mm512_shuffle_i32x4(a, c, 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}
