// One token times quantized weights: how fast the memory is read is all that counts. See linear_tiles-inl.h.

// Columns of a panel that are multiplied before it is the next one's turn.
constexpr int64_t kTurnColumns = 128;

// Panels that are read side by side, a few units of each in turn, and how many bytes ahead: one stream alone is slower
// than the memory. Measured on an AMD EPYC and an Intel Xeon (bench/results/2026-11-28-epyc-zen5-2core.md,
// 2026-11-30-huge-pages-xeon-2core.md).
constexpr int64_t kStreams = 2, kStreamAhead = 3072;

// A block on its way from memory: moving its codes would take longer than moving what their sums begin with.
template <WeightCodec kCodec, typename V = Vectors>
class StreamedBlock : public PackedBlock<kCodec> {
 public:
  KVPARETO_INLINE StreamedBlock(const uint8_t* block, const uint8_t* zeros)
      : PackedBlock<kCodec>{block}, zeros_(zeros) {}
  // Where a start takes the level away, the zero point of each row.
  KVPARETO_INLINE auto start(int32_t of_token) const {
    constexpr WeightCodecInfo kInfo = info_of(kCodec);
    const auto start = Vectors::all_wholes(of_token);
    if constexpr (is_moved(kInfo)) return V::part_of(start, zeros_, kInfo.low_bits + kInfo.high_bits);
    return start;
  }

 private:
  const uint8_t* zeros_;  // of a codec that is moved
};

// Columns [begin, begin + columns) of the panel whose units begin at `unit`, times the job's only input, added to sums
// [16]; codes go from memory to products without a stop. Returns where the next unit begins.
template <WeightCodec kCodec, int kStep>
const uint8_t* stream_turn(const PanelJob& job, const uint8_t* unit, int64_t begin, int64_t columns, float* sums) {
  constexpr WeightCodecInfo kInfo = info_of(kCodec);
  constexpr int64_t kBlock = (kInfo.low_bits + kInfo.high_bits) * kPlaneBytes,
                    kHeader = kPanelRows * (2 * kInfo.halves + kInfo.bytes);
  const int64_t unit_columns = kInfo.unit > 0 ? kInfo.unit : job.format.group;
  const int64_t blocks = unit_columns / kPanelColumns;
  const int sub_bits = bits_of(kInfo.sub > 0 ? kInfo.sub : static_cast<int>(unit_columns));
  alignas(64) float scales[kMostSubs * kPanelRows], offsets[kMostSubs * kPanelRows];
  for (int64_t c = begin; c < begin + columns; c += unit_columns) {
    for (int64_t line = 0; line < kHeader; line += 64) __builtin_prefetch(unit + kStreamAhead + line);
    unpack_scales<kCodec>(unit, scales, offsets);
    const uint8_t* zeros = unit + 2 * kPanelRows * kInfo.halves;
    unit += kHeader;
    const auto block_at = [&](int64_t b) {
      const uint8_t* block = unit + b * kBlock;
#pragma GCC unroll 8
      for (int64_t line = 0; line < kBlock; line += 64) __builtin_prefetch(block + kStreamAhead + line);
      return StreamedBlock<kCodec>(block, zeros);
    };
    add_blocks<KindOf<kCodec, kStep>, 1, 1>(TileInputs<1>(job, 0, c, sub_bits), blocks, sub_bits, block_at,
                                            {scales, offsets}, sums);
    unit += blocks * kBlock;
  }
  return unit;
}

template <WeightCodec kCodec, int kStep>
void stream_panels(const PanelJob& job, int64_t first, int64_t last) {
  const int64_t turn = std::max<int64_t>(kTurnColumns, job.format.unit());
  // Each stream goes through neighbouring panels, so that what is prefetched behind the end of one is the next.
  const int64_t each = (last - first + kStreams - 1) / kStreams;
  for (int64_t p = first; p < first + each; ++p) {
    const int64_t count = (last - p + each - 1) / each;  // of streams that have such a panel still
    const auto panel_of = [&](int64_t s) { return p + s * each; };
    const auto rows_of = [&](int64_t s) { return std::min<int64_t>(kPanelRows, job.rows - panel_of(s) * kPanelRows); };
    alignas(64) float sums[kStreams * kPanelRows];
    const uint8_t* units[kStreams];
    for (int64_t s = 0; s < count; ++s) {
      begin_sums<kPanelRows>(job, panel_of(s), true, 0, 1, rows_of(s), sums + s * kPanelRows);
      units[s] = job.panels + panel_bytes(job.format, job.columns) * static_cast<size_t>(panel_of(s));
    }
    for (int64_t c = 0; c < job.columns; c += turn) {
      for (int64_t s = 0; s < count; ++s) {
        units[s] = stream_turn<kCodec, kStep>(job, units[s], c, std::min(turn, job.columns - c), sums + s * kPanelRows);
      }
    }
    for (int64_t s = 0; s < count; ++s) end_sums<kPanelRows>(job, panel_of(s), 0, 1, rows_of(s), sums + s * kPanelRows);
  }
}

void stream(const PanelJob& job, int64_t first, int64_t last) {
  switch (job.format.codec) {
#define KVPARETO_CASE(codec)              \
  case WeightCodec::codec:                \
    return with_step<WeightCodec::codec>( \
        job.format, [&](auto step) { stream_panels<WeightCodec::codec, step>(job, first, last); });
    KVPARETO_WEIGHT_CODECS(KVPARETO_CASE)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      return;
  }
}
