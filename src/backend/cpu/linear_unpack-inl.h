// From the bytes of a panel to codes, scales and offsets; see linear_tiles-inl.h.

// Ahead of what is unpacked: the stream of the next slice.
constexpr int64_t kPrefetched = 2048;  // bytes

// Whether the codes of a group with a zero point of its own are moved so that one code, the level, is always zero: code
// + level - zero point, of at most one bit more.
constexpr bool is_moved(const WeightCodecInfo& info) { return !Vectors::takes_offsets(info) && info.bytes == 1; }
constexpr int level_of(const WeightCodecInfo& info) {
  return is_moved(info) ? 1 << (info.low_bits + info.high_bits) : info.zero;
}

// One block of 32 columns as it lies in a panel. Step and part must be known when this is compiled.
template <WeightCodec kCodec>
struct PackedBlock {
  static constexpr int kLow = info_of(kCodec).low_bits, kHigh = info_of(kCodec).high_bits;
  const uint8_t* bytes;

  KVPARETO_INLINE typename Vectors::Codes at(int step, int part) const {
    using Codes = typename Vectors::Codes;
    const uint8_t* from = bytes + part * (kPlaneBytes / Vectors::kParts);
    Codes code = Vectors::load_codes(from + step % kLow * kPlaneBytes);
    // Shifts are of 16 bits: the masks take away what came from the neighbour.
    if constexpr (kLow < 8) {
      code = Vectors::both(Vectors::right(code, step / kLow * kLow), Vectors::all_bytes((1 << kLow) - 1));
    }
    if constexpr (kHigh > 0) {
      const Codes high = Vectors::load_codes(from + (kLow + step % kHigh) * kPlaneBytes);
      const Codes bits =
          Vectors::both(Vectors::right(high, step / kHigh * kHigh), Vectors::all_bytes((1 << kHigh) - 1));
      code = Vectors::either(code, Vectors::left(bits, kLow));
    }
    return code;
  }
};

// The same block as bytes, u8 [8 steps][64]; vectors behind the panel's are those of the next panel's slice.
struct UnpackedBlock {
  const uint8_t* bytes;

  KVPARETO_INLINE typename Vectors::Codes at(int step, int vector) const {
    constexpr int kParts = Vectors::kParts;
    constexpr auto kSlice = static_cast<int64_t>(PanelSlice::kFloats * sizeof(float));
    return Vectors::load_codes(bytes + vector / kParts * kSlice + step * kPlaneBytes +
                               vector % kParts * (kPlaneBytes / kParts));
  }
  // Of sums of products with a token.
  KVPARETO_INLINE auto start(int32_t of_token) const { return Vectors::all_wholes(of_token); }
};

// What is added to the codes of a unit, in all bytes of a row. V: vectors that move nothing need not be able to.
template <WeightCodec kCodec, typename V = Vectors>
KVPARETO_INLINE typename Vectors::Codes move_of(const uint8_t* zeros) {
  if constexpr (is_moved(info_of(kCodec))) return V::less_each(level_of(info_of(kCodec)), zeros);
  return Vectors::all_bytes(0);
}

template <WeightCodec kCodec, typename V = Vectors>
KVPARETO_INLINE void unpack_block(PackedBlock<kCodec> block, typename Vectors::Codes move, uint8_t* codes) {
#pragma GCC unroll 2
  for (int p = 0; p < Vectors::kParts; ++p) {
#pragma GCC unroll 8
    for (int step = 0; step < kSteps; ++step) {
      auto code = block.at(step, p);
      if constexpr (is_moved(info_of(kCodec))) code = V::sum_of_bytes(code, move);
      Vectors::store_codes(code, codes + step * kPlaneBytes + p * (kPlaneBytes / Vectors::kParts));
    }
  }
}

// Scales and offsets f32 [subs][16] of one unit.
template <WeightCodec kCodec>
KVPARETO_INLINE void unpack_scales(const uint8_t* unit, float* scales, float* offsets) {
  constexpr WeightCodecInfo kInfo = info_of(kCodec);
  float first[kPanelRows], second[kPanelRows];
  Vectors::widen_halves(unit, first);
  if constexpr (kInfo.halves == 2) Vectors::widen_halves(unit + 2 * kPanelRows, second);
  const uint8_t* bytes = unit + 2 * kPanelRows * kInfo.halves;
  if constexpr (kCodec == WeightCodec::kQ4K || kCodec == WeightCodec::kQ5K) {
#pragma GCC unroll 8
    for (int sub = 0; sub < 8; ++sub) {
      for (int r = 0; r < kPanelRows; ++r) {
        int scale, minimum;
        six_bit_pair(bytes + r, kPanelRows, sub, scale, minimum);
        scales[sub * kPanelRows + r] = first[r] * static_cast<float>(scale);
        offsets[sub * kPanelRows + r] = second[r] * static_cast<float>(minimum);
      }
    }
  } else if constexpr (kCodec == WeightCodec::kQ6K) {
    for (int sub = 0; sub < 16; ++sub) {
      for (int r = 0; r < kPanelRows; ++r) {
        const auto factor = static_cast<int8_t>(bytes[sub * kPanelRows + r]);
        scales[sub * kPanelRows + r] = first[r] * static_cast<float>(factor);
        offsets[sub * kPanelRows + r] = scales[sub * kPanelRows + r] * static_cast<float>(kInfo.zero);
      }
    }
  } else if constexpr (kInfo.halves == 2) {
    for (int r = 0; r < kPanelRows; ++r) {
      scales[r] = first[r];
      offsets[r] = -second[r];
    }
  } else if constexpr (kInfo.bytes == 1 && !is_moved(kInfo)) {
    for (int r = 0; r < kPanelRows; ++r) {
      scales[r] = first[r];
      offsets[r] = first[r] * static_cast<float>(bytes[r]);
    }
  } else {
    const auto level = Vectors::all(static_cast<float>(level_of(kInfo)));
    for (int r = 0; r < kPanelRows; r += kPanelRows / Vectors::kParts) {
      const auto scale = Vectors::load(first + r);
      Vectors::store(scale, scales + r);
      Vectors::store(Vectors::multiply(scale, level), offsets + r);
    }
  }
}

template <WeightCodec kCodec>
void unpack_slice(const WeightFormat& format, const uint8_t* panel, int64_t begin, int64_t columns,
                  const PanelSlice& slice) {
  constexpr WeightCodecInfo kInfo = info_of(kCodec);
  const int64_t unit_columns = kInfo.unit > 0 ? kInfo.unit : format.group;
  const int64_t subs = kInfo.sub > 0 ? unit_columns / kInfo.sub : 1;
  constexpr int64_t kBlock = (kInfo.low_bits + kInfo.high_bits) * kPlaneBytes;
  constexpr int64_t kHeader = kPanelRows * (2 * kInfo.halves + kInfo.bytes);
  const int64_t blocks = unit_columns / kPanelColumns;
  const uint8_t* unit = panel + begin / unit_columns * (kHeader + blocks * kBlock);
  uint8_t* codes = slice.codes;
  for (int64_t u = 0; u < columns / unit_columns; ++u) {
    unpack_scales<kCodec>(unit, slice.scales + u * subs * kPanelRows, slice.offsets + u * subs * kPanelRows);
    const auto move = move_of<kCodec>(unit + 2 * kPanelRows * kInfo.halves);
    unit += kHeader;
    for (int64_t b = 0; b < blocks; ++b) {
      // The stream goes on while this slice is multiplied: the caches are told so.
      for (int64_t line = 0; line < kBlock; line += 64) __builtin_prefetch(unit + kPrefetched + line);
      unpack_block(PackedBlock<kCodec>{unit}, move, codes);
      unit += kBlock;
      codes += kBlockCodes;
    }
  }
}

// CASE() of every codec of quantized weights.
// clang-format off
#define KVPARETO_WEIGHT_CODECS(CASE) \
  CASE(kInt8) CASE(kInt4) CASE(kInt3) CASE(kQ4_0) CASE(kQ4_1) CASE(kQ5_0) \
  CASE(kQ5_1) CASE(kQ8_0) CASE(kQ4K) CASE(kQ5K) CASE(kQ6K)
// clang-format on

void unpack(const WeightFormat& format, const uint8_t* panel, int64_t begin, int64_t columns, const PanelSlice& slice) {
  switch (format.codec) {
#define KVPARETO_CASE(codec) \
  case WeightCodec::codec:   \
    return unpack_slice<WeightCodec::codec>(format, panel, begin, columns, slice);
    KVPARETO_WEIGHT_CODECS(KVPARETO_CASE)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      return;
  }
}
