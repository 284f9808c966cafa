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
  BlockPlanes planes;

  KVPARETO_INLINE typename Vectors::Codes at(int step, int part) const {
    using Codes = typename Vectors::Codes;
    const int from = part * (kPlaneBytes / Vectors::kParts);
    Codes code = Vectors::load_codes(planes.low + from + step % kLow * kPlaneBytes);
    // Shifts are of 16 bits: the masks take away what came from the neighbour.
    if constexpr (kLow < 8) {
      code = Vectors::both(Vectors::right(code, step / kLow * kLow), Vectors::all_bytes((1 << kLow) - 1));
    }
    if constexpr (kHigh > 0) {
      const Codes high = Vectors::load_codes(planes.high + from + step % kHigh * kPlaneBytes);
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
  } else if constexpr (kCodec == WeightCodec::kQ6K || kCodec == WeightCodec::kQ6KApart) {
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

// The blocks of one unit of a panel after the other.
template <WeightCodec kCodec>
class UnitWalk {
 public:
  // From the unit of a column on.
  KVPARETO_INLINE UnitWalk(const Panel& panel, int64_t column)
      : unit_(panel.unit(column)), first_(BlockPlanes::of(panel, column)) {}
  KVPARETO_INLINE const uint8_t* header() const { return unit_; }
  KVPARETO_INLINE const uint8_t* zeros() const { return unit_ + 2 * kPanelRows * info_of(kCodec).halves; }
  KVPARETO_INLINE BlockPlanes block(int64_t b) const {
    BlockPlanes planes = first_;
    planes.low += b * (kApart > 0 ? kApart : kBlock);
    planes.high += b * kBlock;
    return planes;
  }
  // Tells the memory of what lies so many bytes behind block b.
  KVPARETO_INLINE void tell(int64_t b, int64_t ahead) const {
    const BlockPlanes planes = block(b);
    const uint8_t* units = (kApart > 0 ? planes.high : planes.low) + ahead;
#pragma GCC unroll 8
    for (int64_t line = 0; line < kBlock; line += 64) __builtin_prefetch(units + line);
#pragma GCC unroll 8
    for (int64_t line = 0; line < kApart; line += 64) __builtin_prefetch(planes.low + ahead + line);
  }
  KVPARETO_INLINE void next_unit(int64_t blocks) {
    const int64_t unit = kHeader + blocks * kBlock;
    unit_ += unit;
    first_.low += kApart > 0 ? blocks * kApart : unit;
    first_.high += unit;
  }

  static constexpr WeightFormat kFormat{kCodec, 0};
  static constexpr auto kBlock = static_cast<int64_t>(panel_block_bytes(kFormat)),
                        kApart = static_cast<int64_t>(apart_bytes(kFormat)),
                        kHeader = static_cast<int64_t>(unit_header_bytes(kFormat));

 private:
  const uint8_t* unit_;
  BlockPlanes first_;
};

template <WeightCodec kCodec>
void unpack_slice(const Panel& panel, int64_t begin, int64_t columns, const PanelSlice& slice) {
  constexpr WeightCodecInfo kInfo = info_of(kCodec);
  const int64_t unit_columns = kInfo.unit > 0 ? kInfo.unit : panel.format.group;
  const int64_t subs = kInfo.sub > 0 ? unit_columns / kInfo.sub : 1;
  const int64_t blocks = unit_columns / kPanelColumns;
  UnitWalk<kCodec> walk(panel, begin);
  uint8_t* codes = slice.codes;
  for (int64_t u = 0; u < columns / unit_columns; ++u) {
    unpack_scales<kCodec>(walk.header(), slice.scales + u * subs * kPanelRows, slice.offsets + u * subs * kPanelRows);
    const auto move = move_of<kCodec>(walk.zeros());
    for (int64_t b = 0; b < blocks; ++b) {
      walk.tell(b, kPrefetched);  // the stream goes on while this slice is multiplied
      unpack_block(PackedBlock<kCodec>{walk.block(b)}, move, codes);
      codes += kBlockCodes;
    }
    walk.next_unit(blocks);
  }
}

// CASE() of every codec of quantized weights.
// clang-format off
#define KVPARETO_WEIGHT_CODECS(CASE) \
  CASE(kInt8) CASE(kInt8Apart) CASE(kInt4) CASE(kInt3) CASE(kQ4_0) CASE(kQ4_1) \
  CASE(kQ5_0) CASE(kQ5_1) CASE(kQ8_0) CASE(kQ4K) CASE(kQ5K) CASE(kQ6K) CASE(kQ6KApart)
// clang-format on

void unpack(const Panel& panel, int64_t begin, int64_t columns, const PanelSlice& slice) {
  switch (panel.format.codec) {
#define KVPARETO_CASE(codec) \
  case WeightCodec::codec:   \
    return unpack_slice<WeightCodec::codec>(panel, begin, columns, slice);
    KVPARETO_WEIGHT_CODECS(KVPARETO_CASE)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      return;
  }
}
