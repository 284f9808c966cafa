// Packing of groups that reach over several tokens, from the exact tail; one instance a Highway target. Plain loops
// over the channels of a chunk, which the compiler turns into vectors. Included by kernels.cc after packing-inl.h.

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {

constexpr int kLongestSpan = 128;  // tokens

// Channels [c, c + kGroupMultiple) of the span's tokens: f32 [span][kGroupMultiple].
struct SpanChunk {
  HWY_ALIGN float values[kLongestSpan][kGroupMultiple];
  HWY_ALIGN float low[kGroupMultiple], high[kGroupMultiple];  // of each channel

  HWY_INLINE void load(const PackedSide& side, int64_t head, int64_t token, int c) {
    for (int t = 0; t < side.span; ++t) {
      bf16_to_floats(side.tail_row(head, token + t) + c, kGroupMultiple, values[t]);
      for (int i = 0; i < kGroupMultiple; ++i) {
        low[i] = t == 0 || values[t][i] < low[i] ? values[t][i] : low[i];
        high[i] = t == 0 || values[t][i] > high[i] ? values[t][i] : high[i];
      }
    }
  }
};

// Scale and minimum of each channel of the chunk.
struct ChannelFits {
  HWY_ALIGN float scale[kGroupMultiple], minimum[kGroupMultiple];

  HWY_INLINE void set(int i, const PackedSide& side, GroupFit fit) {
    scale[i] = to_float(fit.scale);
    minimum[i] = side.fit == Fit::kSymmetric ? symmetric_minimum(scale[i], side.levels()) : to_float(fit.minimum);
  }
};

HWY_INLINE void encode_chunk(const PackedSide& side, int64_t head, int64_t token, int c, const SpanChunk& chunk,
                             const ChannelFits& fits) {
  HWY_ALIGN float inverse[kGroupMultiple];
  const float top = static_cast<float>(side.levels());
  for (int i = 0; i < kGroupMultiple; ++i) inverse[i] = inverse_of(fits.scale[i]);
  for (int t = 0; t < side.span; ++t) {
    HWY_ALIGN uint8_t codes[kGroupMultiple];
    for (int i = 0; i < kGroupMultiple; ++i) {
      codes[i] = static_cast<uint8_t>(static_cast<int>(code_of(chunk.values[t][i], fits.minimum[i], inverse[i], top)));
    }
    put_codes(side, side.block(head, token), side.place_of(token) + t, c, kGroupMultiple, codes);
  }
}

// One scale a channel.
HWY_INLINE void encode_channels(const PackedSide& side, int64_t head, int64_t token, int c, SpanChunk& chunk,
                                f16* scales, f16* minimums) {
  ChannelFits fits;
  chunk.load(side, head, token, c);
  for (int i = 0; i < kGroupMultiple; ++i) {
    HWY_ALIGN float column[kLongestSpan];
    if (side.fit == Fit::kSquares) {
      for (int t = 0; t < side.span; ++t) column[t] = chunk.values[t][i];
    }
    const GroupFit fit = fit_values(side.fit, column, side.span, chunk.low[i], chunk.high[i], side.levels());
    scales[c + i] = fit.scale;
    if (side.fit != Fit::kSymmetric) minimums[c + i] = fit.minimum;
    fits.set(i, side, fit);
  }
  encode_chunk(side, head, token, c, chunk, fits);
}

// One scale for a tile of tokens and channels.
HWY_INLINE void encode_tile(const PackedSide& side, int64_t head, int64_t token, int g, SpanChunk& chunk, f16* scales,
                            f16* minimums) {
  float low = 0, high = 0;
  for (int c = g * side.group; c < (g + 1) * side.group; c += kGroupMultiple) {
    chunk.load(side, head, token, c);
    for (int i = 0; i < kGroupMultiple; ++i) {
      const bool first = c == g * side.group && i == 0;
      low = first || chunk.low[i] < low ? chunk.low[i] : low;
      high = first || chunk.high[i] > high ? chunk.high[i] : high;
    }
  }
  const GroupFit fit = fit_values(side.fit, nullptr, 0, low, high, side.levels());
  scales[g] = fit.scale;
  if (side.fit != Fit::kSymmetric) minimums[g] = fit.minimum;
  ChannelFits fits;
  for (int i = 0; i < kGroupMultiple; ++i) fits.set(i, side, fit);
  for (int c = g * side.group; c < (g + 1) * side.group; c += kGroupMultiple) {
    chunk.load(side, head, token, c);
    encode_chunk(side, head, token, c, chunk, fits);
  }
}

void encode_span(const PackedSide& side, int64_t head, int64_t token) {
  uint8_t* block = side.block(head, token);
  auto* scales = reinterpret_cast<f16*>(block + side.scales_offset) + side.fit_index(token, 0);
  auto* minimums = reinterpret_cast<f16*>(block + side.minimums_offset) + side.fit_index(token, 0);
  SpanChunk chunk;
  if (side.group == 1) {
    for (int c = 0; c < side.head_dim; c += kGroupMultiple)
      encode_channels(side, head, token, c, chunk, scales, minimums);
    return;
  }
  for (int g = 0; g < side.groups(); ++g) encode_tile(side, head, token, g, chunk, scales, minimums);
}

}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
