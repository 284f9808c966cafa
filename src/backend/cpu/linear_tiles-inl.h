// Products of quantized weights in vectors, for one instruction set: `Vectors` says how wide they are and how four
// products of bytes are summed. linear_unpack-inl.h, this, linear_streams-inl.h and linear_panels-inl.h are included in
// this order once by each file that defines it (avx2_linear.cc, vnni_linear.cc), inside its namespace and its target.
// The plain form of every function is in plain_linear.cc.
//
// Sixteen rows of a panel stand in the lanes, so that nothing is ever summed across lanes: the four columns of a step
// enter as a broadcast of four bytes. A slice of the panel is unpacked to bytes in the first-level cache once and used
// by a few tokens at a time, whose sums stay in registers for a block of 32 columns.

// --- inputs in int8

KVPARETO_INLINE int bits_of(int power) { return std::countr_zero(static_cast<unsigned>(power)); }

// What the products of the columns from `column` on take of the tile of inputs that begins with `token`.
template <int kTokens>
struct TileInputs {
  const int8_t* codes;           // [blocks of 32 columns][tokens][32]
  const float *scales, *totals;  // of each block [blocks][tokens]; of the first group of columns
  int64_t total_stride;          // from input to input
  const int32_t* starts;         // of each block or half of one [parts][tokens]

  // A division would take as long as the products of a few inputs: groups are of 2^sub_bits columns.
  TileInputs(const PanelJob& job, int64_t token, int64_t column, int sub_bits)
      : codes(job.codes + token * job.columns() + column * kTokens),
        scales(job.scales + (token * job.columns() + column * kTokens) / kPanelColumns),
        totals(job.sums + (token * job.columns() >> sub_bits) + (column >> sub_bits)),
        total_stride(job.columns() >> sub_bits),
        starts(job.starts + ((token * job.columns() + column * kTokens) >> std::min(sub_bits, bits_of(kPanelColumns)))) {}

  const int8_t* block(int64_t b) const { return codes + b * kTokens * kPanelColumns; }
  float scale(int64_t b, int t) const { return scales[b * kTokens + t]; }
  float total(int64_t group, int t) const { return totals[t * total_stride + group]; }
  const int32_t* starts_of(int64_t part) const { return starts + part * kTokens; }
};

// Scales and offsets f32 [groups][16] of a panel; those of the next one lie PanelSlice::kFloats behind.
struct GroupScales {
  const float *scales, *offsets;

  KVPARETO_INLINE static int64_t place(int64_t group, int v) {
    constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
    return v / kParts * PanelSlice::kFloats + group * kPanelRows + v % kParts * kLanes;
  }
  KVPARETO_INLINE auto scale(int64_t group, int v) const { return Vectors::load(scales + place(group, v)); }
  KVPARETO_INLINE auto offset(int64_t group, int v) const { return Vectors::load(offsets + place(group, v)); }
};

// Vectors of rows: of one panel, or of two neighbours that share every input that is loaded.
template <int kPanels>
inline constexpr int kVectors = (kPanels * Vectors::kParts);
template <int kTokens, int kPanels>
using Held = typename Vectors::Float[kTokens][kVectors<kPanels>];

// Of sums f32 [tokens][rows].
template <int kPanels>
KVPARETO_INLINE float* vector_at(float* sums, int t, int v) {
  return sums + (t * kVectors<kPanels> + v) * (kPanelRows / Vectors::kParts);
}

// How many columns share a scale of the weight: 16 or 32, or several blocks of 32.
constexpr int kWide = 64;
// Calls body(step), a constant: a codec of units of its own has one kind of group, the others have what the format
// says.
template <WeightCodec kCodec, typename Body>
KVPARETO_INLINE void with_step(const WeightFormat& format, Body body) {
  constexpr int kSub = info_of(kCodec).unit > 0 ? WeightFormat{kCodec, 0}.sub() : 0;
  if constexpr (kSub > 0) {
    body(std::integral_constant<int, kSub>());
  } else if (format.sub() >= kWide) {
    body(std::integral_constant<int, kWide>());
  } else {
    body(std::integral_constant<int, 32>());
  }
}

// What the products of codes depend on.
template <int kBitsOfCode, int kColumns, bool kTakesOffsets>
struct Kind {
  static constexpr int kBits = kBitsOfCode, kStep = kColumns;
  static constexpr bool kOffsets = kTakesOffsets;  // or else sums begin with what zero points take away
};
// Three bits are multiplied as four.
template <WeightCodec kCodec, int kStep>
using KindOf = Kind<std::max(info_of(kCodec).low_bits + info_of(kCodec).high_bits, 4), kStep,
                    Vectors::takes_offsets(info_of(kCodec))>;

// Part kPart of block b, kStep columns that share a scale on either side: their products added to the tile's sums, less
// what their group takes away.
template <typename Kind, int kPart, int kTokens, int kPanels, typename Block>
KVPARETO_INLINE void add_part(const TileInputs<kTokens>& in, int64_t b, Block block, GroupScales weights, int64_t group,
                              Held<kTokens, kPanels>& held) {
  constexpr int kCount = Kind::kStep / 4;
  typename Vectors::template Dot<Kind, kTokens, kPanels> dot;
  dot.template add<kPart * kCount, kCount>(block, in.block(b), in.starts_of(group));
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors<kPanels>; ++v) {
      const auto scale = Vectors::multiply(weights.scale(group, v), Vectors::all(in.scale(b, t)));
      held[t][v] = Vectors::fma(dot.whole(t, v), scale, held[t][v]);
    }
  }
  if constexpr (Kind::kOffsets) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors<kPanels>; ++v) {
        held[t][v] = Vectors::less_product(held[t][v], weights.offset(group, v), Vectors::all(in.total(group, t)));
      }
    }
  }
}

// Block b, one of a wide group: its products times the scales of the inputs, added to `held`, which is the group's.
template <typename Kind, int kTokens, int kPanels, typename Block>
KVPARETO_INLINE void add_to_group(const TileInputs<kTokens>& in, int64_t b, Block block, Held<kTokens, kPanels>& held) {
  typename Vectors::template Dot<Kind, kTokens, kPanels> dot;
  dot.template add<0, kSteps>(block, in.block(b), in.starts_of(b));
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors<kPanels>; ++v) {
      held[t][v] = Vectors::fma(dot.whole(t, v), Vectors::all(in.scale(b, t)), held[t][v]);
    }
  }
}
// The group times its scale, less what it takes away, added to the tile's sums.
template <typename Kind, int kTokens, int kPanels>
KVPARETO_INLINE void end_group(const TileInputs<kTokens>& in, GroupScales weights, int64_t group,
                               const Held<kTokens, kPanels>& held, float* sums) {
  // Hides where the sums are: g++ 12 would move them to registers for all groups and spill what is needed there.
  __asm__("" : "+r"(sums));
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors<kPanels>; ++v) {
      float* place = vector_at<kPanels>(sums, t, v);
      auto sum = Vectors::fma(held[t][v], weights.scale(group, v), Vectors::load(place));
      if constexpr (Kind::kOffsets) {
        sum = Vectors::less_product(sum, weights.offset(group, v), Vectors::all(in.total(group, t)));
      }
      Vectors::store(sum, place);
    }
  }
}

// The products of `blocks` blocks of columns added to sums f32 [tokens][rows]; block_at(b) is one of them. The order of
// sums is the same for one token and one panel as for many.
template <typename Kind, int kTokens, int kPanels, typename BlockAt>
KVPARETO_INLINE void add_blocks(const TileInputs<kTokens>& in, int64_t blocks, int sub_bits, BlockAt block_at,
                                GroupScales weights, float* sums) {
  Held<kTokens, kPanels> held;
  if constexpr (Kind::kStep == kWide) {
    const int64_t each = (int64_t{1} << sub_bits) / kPanelColumns;
    for (int64_t b = 0, group = 0; b < blocks; ++group) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors<kPanels>; ++v) held[t][v] = Vectors::all(0);
      }
      for (const int64_t end = b + each; b < end; ++b) {
        add_to_group<Kind, kTokens, kPanels>(in, b, block_at(b), held);
      }
      end_group<Kind, kTokens, kPanels>(in, weights, group, held, sums);
    }
  } else {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors<kPanels>; ++v) held[t][v] = Vectors::load(vector_at<kPanels>(sums, t, v));
    }
    for (int64_t b = 0; b < blocks; ++b) {
      const auto block = block_at(b);
      if constexpr (Kind::kStep == 16) {
        add_part<Kind, 0, kTokens, kPanels>(in, b, block, weights, 2 * b, held);
        add_part<Kind, 1, kTokens, kPanels>(in, b, block, weights, 2 * b + 1, held);
      } else {
        add_part<Kind, 0, kTokens, kPanels>(in, b, block, weights, b, held);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors<kPanels>; ++v) Vectors::store(held[t][v], vector_at<kPanels>(sums, t, v));
    }
  }
}

// Columns [begin, begin + columns) of the panels times the tile of `kTokens` inputs from `token` on, added to sums f32
// [tokens][rows].
template <typename Kind, int kPanels, int kTokens>
void tile_int8(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
               float* sums) {
  const int sub_bits = bits_of(job.format().sub());
  const TileInputs<kTokens> in(job, token, begin, sub_bits);
  const auto block_at = [&](int64_t b) { return UnpackedBlock{slice.codes + b * kBlockCodes}; };
  add_blocks<Kind, kTokens, kPanels>(in, columns / kPanelColumns, sub_bits, block_at, {slice.scales, slice.offsets},
                                     sums);
}

// --- inputs in f32

template <int kTokens>
void tile_float(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                float* sums) {
  using Float = typename Vectors::Float;
  constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts;
  const int64_t sub = job.format().sub();
  const float* x = job.x + token * job.columns() + begin;
  const float* totals = job.sums + (token * job.columns() + begin) / sub;
  const int64_t total_stride = job.columns() / sub;
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
            group[t][p] = Vectors::fma(code, Vectors::all(x[t * job.columns() + k + i]), group[t][p]);
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
