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

// What the products of one block of columns take of the tile of inputs that begins with `token`.
template <int kTokens>
struct BlockInputs {
  const int8_t* codes;           // [tokens][32]
  const float *scales, *totals;  // of the block [tokens]; of its first group of one scale
  int64_t total_stride;          // from input to input

  // A division would take as long as the products of a few inputs: groups are of 2^sub_bits columns.
  BlockInputs(const PanelJob& job, int64_t token, int64_t column, int sub_bits)
      : codes(job.codes + token * job.columns + column * kTokens),
        scales(job.scales + (token * job.columns + column * kTokens) / kPanelColumns),
        totals(job.sums + (token * job.columns >> sub_bits) + (column >> sub_bits)),
        total_stride(job.columns >> sub_bits) {}
};

template <int kTokens>
using Held = typename Vectors::Float[kTokens][Vectors::kParts];

// Part kPart of a block, kStep columns that share a scale on either side: its products, and if `ends` what their group
// takes away.
template <int kBits, int kStep, int kPart, int kTokens, typename Block>
KVPARETO_INLINE void add_part(const BlockInputs<kTokens>& in, Block block, const float* scales, const float* offsets,
                              bool ends, Held<kTokens>& held) {
  using Float = typename Vectors::Float;
  constexpr int kParts = Vectors::kParts, kLanes = kPanelRows / kParts, kCount = kStep / 4;
  typename Vectors::template Dot<kBits, kTokens> dot;
  dot.template add<kPart * kCount, kCount>(block, in.codes);
#pragma GCC unroll 2
  for (int p = 0; p < kParts; ++p) {
    const Float weight_scale = Vectors::load(scales + kPart * kPanelRows + p * kLanes);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      const Float scale = Vectors::multiply(weight_scale, Vectors::all(in.scales[t]));
      held[t][p] = Vectors::fma(dot.whole(t, p), scale, held[t][p]);
    }
  }
  if (Vectors::kCentred<kBits> || !ends) return;
#pragma GCC unroll 2
  for (int p = 0; p < kParts; ++p) {
    const Float offset = Vectors::load(offsets + kPart * kPanelRows + p * kLanes);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      held[t][p] = Vectors::less_product(held[t][p], offset, Vectors::all(in.totals[t * in.total_stride + kPart]));
    }
  }
}

template <int kBits, int kStep, int kTokens, typename Block>
KVPARETO_INLINE void add_block(const BlockInputs<kTokens>& in, Block block, const float* scales, const float* offsets,
                               bool ends, Held<kTokens>& held) {
  add_part<kBits, kStep, 0, kTokens>(in, block, scales, offsets, ends, held);
  if constexpr (kStep == 16) add_part<kBits, kStep, 1, kTokens>(in, block, scales, offsets, ends, held);
}

template <int kTokens>
KVPARETO_INLINE void load_held(const float* sums, Held<kTokens>& held) {
  constexpr int kLanes = kPanelRows / Vectors::kParts;
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < Vectors::kParts; ++p) held[t][p] = Vectors::load(sums + t * kPanelRows + p * kLanes);
  }
}
template <int kTokens>
KVPARETO_INLINE void store_held(const Held<kTokens>& held, float* sums) {
  constexpr int kLanes = kPanelRows / Vectors::kParts;
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < Vectors::kParts; ++p) Vectors::store(held[t][p], sums + t * kPanelRows + p * kLanes);
  }
}

// Columns [begin, begin + columns) of the panel times the tile of `kTokens` inputs from `token` on, added to sums f32
// [tokens][16].
template <int kBits, int kStep, int kTokens>
void tile_int8(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
               float* sums) {
  const int sub_bits = kStep == 16 ? 4 : bits_of(job.format.sub());
  const int64_t inside = (int64_t{1} << sub_bits) - 1;
  Held<kTokens> held;
  load_held<kTokens>(sums, held);
  for (int64_t c = 0; c < columns; c += kPanelColumns) {
    const int64_t at = (c >> sub_bits) * kPanelRows;
    add_block<kBits, kStep, kTokens>(BlockInputs<kTokens>(job, token, begin + c, sub_bits),
                                     UnpackedBlock{slice.codes + c * kPanelRows}, slice.scales + at, slice.offsets + at,
                                     ((c + kPanelColumns) & inside) == 0, held);
  }
  store_held<kTokens>(held, sums);
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
