// Codes by fours in AVX-512, a byte a code. Included inside the namespace and the target of who multiplies them.

// Numbers of 16 bits of a vector, by their places.
struct alignas(64) Words {
  uint16_t words[32] = {};
  template <typename Word>
  explicit constexpr Words(Word word) {
    for (int i = 0; i < 32; ++i) words[i] = static_cast<uint16_t>(word(i));
  }
  __m512i load() const { return _mm512_load_si512(words); }
};

// Two neighbouring rows of pairs become one of fours, a byte a code: lane t holds the pair of both rows. The words of a
// chunk hold kWords lanes, further lanes in higher bits of the same words.
template <Codec kCodec>
struct Fours {
  static constexpr int kBits = kCodec == Codec::kInt8 ? 8 : kCodec == Codec::kInt4 ? 4 : 2;
  static constexpr int kWords = 2 * kBits;
  static constexpr Words kTake{[](int i) { return i / 2 % kWords + i % 2 * 32; }};
  static constexpr Words kShifts{[](int i) { return i / 2 / kWords * kBits; }};
  __m512i take, shifts, mask;
  Fours() : take(kTake.load()), shifts(kShifts.load()), mask(_mm512_set1_epi8(static_cast<char>((1 << kBits) - 1))) {}

  static __m512i load(const uint8_t* chunk) {
    if constexpr (kCodec == Codec::kInt8) {
      return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk)));
    } else if constexpr (kCodec == Codec::kInt4) {
      return _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk)));
    } else {
      return _mm512_castsi128_si512(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(chunk)));
    }
  }

  __m512i row(const uint8_t* a, const uint8_t* b) const {
    const __m512i both = _mm512_permutex2var_epi16(load(a), take, load(b));
    if constexpr (kCodec == Codec::kInt8) return both;
    const __m512i codes = _mm512_and_si512(_mm512_srlv_epi16(both, shifts), mask);
    if constexpr (kCodec != Codec::kInt3) return codes;
    uint32_t of_a, of_b;  // the third bits, in the order of the codes
    __builtin_memcpy(&of_a, a + 8, 4);
    __builtin_memcpy(&of_b, b + 8, 4);
    const uint64_t tops = _pdep_u64(of_a, 0x3333333333333333u) | _pdep_u64(of_b, 0xccccccccccccccccu);
    return _mm512_mask_add_epi8(codes, tops, codes, _mm512_set1_epi8(4));
  }
};
