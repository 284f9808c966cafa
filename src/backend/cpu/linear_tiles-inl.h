// Products of quantized weights in vectors, for one instruction set: `Vectors` says how wide they are and how four
// products of bytes are summed. Included once by each file that defines it (avx2_linear.cc, vnni_linear.cc), inside its
// namespace and its target. The plain form of every function is in plain_linear.cc.
//
// Sixteen rows of a panel stand in the lanes, so that nothing is ever summed across lanes: the four columns of a step
// enter as a broadcast of four bytes. A slice of the panel is unpacked to bytes in the first-level cache once and used
// by a few tokens at a time, whose sums stay in registers for a block of 32 columns.

// Ahead of what is unpacked: the stream of the next slice.
constexpr int64_t kPrefetched = 2048;  // bytes
// Columns unpacked at once where few tokens share them: short, so that reading and multiplying overlap.
constexpr int64_t kStreamedColumns = 256;

// --- a slice of a panel

// One block of 32 columns: u8 [8 steps][64].
template <int kLow, int kHigh>
KVPARETO_INLINE void unpack_block(const uint8_t* block, uint8_t* codes) {
  using Codes = typename Vectors::Codes;
  const Codes low_mask = Vectors::all_bytes((1 << kLow) - 1), high_mask = Vectors::all_bytes((1 << kHigh) - 1);
#pragma GCC unroll 2
  for (int p = 0; p < Vectors::kParts; ++p) {
    const uint8_t* from = block + p * (kPlaneBytes / Vectors::kParts);
    uint8_t* to = codes + p * (kPlaneBytes / Vectors::kParts);
#pragma GCC unroll 8
    for (int step = 0; step < kSteps; ++step) {
      Codes code = Vectors::load_codes(from + step % kLow * kPlaneBytes);
      // Shifts are of 16 bits: the masks take away what came from the neighbour.
      if constexpr (kLow < 8) code = Vectors::both(Vectors::right(code, step / kLow * kLow), low_mask);
      if constexpr (kHigh > 0) {
        const Codes high = Vectors::load_codes(from + (kLow + step % kHigh) * kPlaneBytes);
        const Codes bits = Vectors::both(Vectors::right(high, step / kHigh * kHigh), high_mask);
        code = Vectors::either(code, Vectors::left(bits, kLow));
      }
      Vectors::store_codes(code, to + step * kPlaneBytes);
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
  } else {
    for (int r = 0; r < kPanelRows; ++r) {
      scales[r] = first[r];
      if constexpr (kInfo.halves == 2) {
        offsets[r] = -second[r];
      } else if constexpr (kInfo.bytes == 1) {
        offsets[r] = first[r] * static_cast<float>(bytes[r]);
      } else {
        offsets[r] = first[r] * static_cast<float>(kInfo.zero);
      }
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
    unit += kHeader;
    for (int64_t b = 0; b < blocks; ++b) {
      // The stream goes on while this slice is multiplied: the caches are told so.
      for (int64_t line = 0; line < kBlock; line += 64) __builtin_prefetch(unit + kPrefetched + line);
      unpack_block<kInfo.low_bits, kInfo.high_bits>(unit, codes);
      unit += kBlock;
      codes += kBlockCodes;
    }
  }
}

void unpack(const WeightFormat& format, const uint8_t* panel, int64_t begin, int64_t columns, const PanelSlice& slice) {
  switch (format.codec) {
#define KVPARETO_CASE(codec) \
  case WeightCodec::codec:   \
    return unpack_slice<WeightCodec::codec>(format, panel, begin, columns, slice);
    KVPARETO_CASE(kInt8)
    KVPARETO_CASE(kInt4)
    KVPARETO_CASE(kInt3)
    KVPARETO_CASE(kQ4_0)
    KVPARETO_CASE(kQ4_1)
    KVPARETO_CASE(kQ5_0)
    KVPARETO_CASE(kQ5_1)
    KVPARETO_CASE(kQ8_0)
    KVPARETO_CASE(kQ4K)
    KVPARETO_CASE(kQ5K)
    KVPARETO_CASE(kQ6K)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      return;
  }
}

// --- inputs in int8

// Columns [begin, begin + columns) of the panel times `kTokens` inputs from `token` on, added to sums f32 [tokens][16].
// kStep: columns that share a scale on either side, 32 or 16.
template <int kBits, int kStep, int kTokens>
void tile_int8(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
               float* sums) {
  using Float = typename Vectors::Float;
  constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
  const int64_t sub = kStep == 16 ? 16 : job.format.sub();
  const int8_t* x = job.codes + token * job.columns + begin;
  const float* scales = job.scales + (token * job.columns + begin) / kPanelColumns;
  const float* totals = job.sums + (token * job.columns + begin) / sub;
  const int64_t scale_stride = job.columns / kPanelColumns, total_stride = job.columns / sub;
  Float held[kTokens][kParts];
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kParts; ++p) held[t][p] = Vectors::load(sums + t * kPanelRows + p * kLanes);
  }
  for (int64_t c = 0; c < columns; c += kStep) {
    typename Vectors::template Dot<kBits, kTokens> dot;
    dot.template add<kStep / 4>(slice.codes + c * kPanelRows, x + c, job.columns);
    const float* weight_scales = slice.scales + c / sub * kPanelRows;
    for (int p = 0; p < kParts; ++p) {
      const Float weight_scale = Vectors::load(weight_scales + p * kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const Float scale = Vectors::multiply(weight_scale, Vectors::all(scales[t * scale_stride + c / kPanelColumns]));
        held[t][p] = Vectors::fma(dot.whole(t, p), scale, held[t][p]);
      }
    }
    if ((c + kStep) % sub != 0) continue;
    const float* offsets = slice.offsets + c / sub * kPanelRows;
    for (int p = 0; p < kParts; ++p) {
      const Float offset = Vectors::load(offsets + p * kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        held[t][p] = Vectors::less_product(held[t][p], offset, Vectors::all(totals[t * total_stride + c / sub]));
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kParts; ++p) Vectors::store(held[t][p], sums + t * kPanelRows + p * kLanes);
  }
}

// --- inputs in f32

template <int kTokens>
void tile_float(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                float* sums) {
  using Float = typename Vectors::Float;
  constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
  const int64_t sub = job.format.sub();
  const float* x = job.x + token * job.columns + begin;
  const float* totals = job.sums + (token * job.columns + begin) / sub;
  const int64_t total_stride = job.columns / sub;
  for (int64_t c = 0; c < columns; c += sub) {
    Float group[kTokens][kParts];
    for (int t = 0; t < kTokens; ++t) {
      for (int p = 0; p < kParts; ++p) group[t][p] = Vectors::all(0);
    }
    for (int64_t k = c; k < c + sub; k += 4) {
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) {
        const auto codes = Vectors::load_codes(slice.codes + k * kPanelRows + 4 * p * kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const Float code = Vectors::byte_of(codes, i);
#pragma GCC unroll 4
          for (int t = 0; t < kTokens; ++t) {
            group[t][p] = Vectors::fma(code, Vectors::all(x[t * job.columns + k + i]), group[t][p]);
          }
        }
      }
    }
    const int64_t at = c / sub * kPanelRows;
    for (int p = 0; p < kParts; ++p) {
      const Float scale = Vectors::load(slice.scales + at + p * kLanes);
      const Float offset = Vectors::load(slice.offsets + at + p * kLanes);
      for (int t = 0; t < kTokens; ++t) {
        float* place = sums + t * kPanelRows + p * kLanes;
        const Float product = Vectors::fma(group[t][p], scale, Vectors::load(place));
        Vectors::store(Vectors::less_product(product, offset, Vectors::all(totals[t * total_stride + c / sub])), place);
      }
    }
  }
}

// --- panels

using Tile = void (*)(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                      float* sums);

using Tiles = std::array<Tile, kMostTokens + 1>;  // by the number of tokens

template <int kBits, int kStep, size_t... kTokens>
constexpr Tiles int8_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_int8<kBits, kStep, static_cast<int>(kTokens) + 1>...};
}
template <int kBits, int kStep>
constexpr Tiles kInt8Tiles =
    int8_table<kBits, kStep>(std::make_index_sequence<kBits == 8 ? kMostByteTokens : kMostTokens>());

template <size_t... kTokens>
constexpr Tiles float_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_float<static_cast<int>(kTokens) + 1>...};
}
constexpr Tiles kFloatTiles = float_table(std::make_index_sequence<kMostFloatTokens>());

const Tiles& int8_tiles(const WeightFormat& format) {
  switch (format.bits()) {
    case 5:
      return kInt8Tiles<5, 32>;
    case 6:
      return kInt8Tiles<6, 16>;
    case 8:
      return kInt8Tiles<8, 32>;
    default:
      return kInt8Tiles<4, 32>;
  }
}

void each_panel(const PanelJob& job, int64_t first, int64_t last, float* scratch, const Tiles& tiles, int most) {
  const PanelSlice slice(scratch);
  const int64_t slice_columns = job.tokens <= most ? kStreamedColumns : kSliceColumns;
  for (int64_t p = first; p < last; ++p) {
    const uint8_t* panel = job.panels + panel_bytes(job.format, job.columns) * static_cast<size_t>(p);
    const int64_t rows = std::min<int64_t>(kPanelRows, job.rows - p * kPanelRows);
    for (int64_t begin = 0; begin < job.columns; begin += slice_columns) {
      const int64_t columns = std::min(slice_columns, job.columns - begin);
      unpack(job.format, panel, begin, columns, slice);
      for (int64_t t = 0; t < job.tokens;) {
        const int64_t count = std::min<int64_t>(most, job.tokens - t);
        alignas(64) float sums[kMostTokens * kPanelRows];
        begin_sums(job, p, begin == 0, t, count, rows, sums);
        tiles[static_cast<size_t>(count)](job, slice, begin, columns, t, sums);
        for (int64_t i = 0; i < count; ++i) {
          std::memcpy(job.out + (t + i) * job.out_stride + p * kPanelRows, sums + i * kPanelRows,
                      static_cast<size_t>(rows) * sizeof(float));
        }
        t += count;
      }
    }
  }
}

void panels_int8(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, int8_tiles(job.format), job.format.bits() == 8 ? kMostByteTokens : kMostTokens);
}

void panels_float(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel(job, first, last, scratch, kFloatTiles, kMostFloatTokens);
}

void widen_panel(const WeightFormat& format, const uint8_t* panel, int64_t rows, int64_t columns, Tensor out,
                 float* scratch) {
  const PanelSlice slice(scratch);
  const int64_t sub = format.sub();
  for (int64_t begin = 0; begin < columns; begin += kSliceColumns) {
    const int64_t count = std::min(kSliceColumns, columns - begin);
    unpack(format, panel, begin, count, slice);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < count; c += 4) {
        const uint8_t* codes = slice.codes + c * kPanelRows + 4 * r;
        const float scale = slice.scales[c / sub * kPanelRows + r], offset = slice.offsets[c / sub * kPanelRows + r];
        float values[4];
        for (int i = 0; i < 4; ++i) values[i] = scale * static_cast<float>(codes[i]) - offset;
        const int64_t place = r * out.row_stride + begin + c;
        if (out.type == DType::kF32) {
          std::memcpy(static_cast<float*>(out.data) + place, values, sizeof values);
        } else {
          for (int i = 0; i < 4; ++i) static_cast<bf16*>(out.data)[place + i] = to_bf16(values[i]);
        }
      }
    }
  }
}
