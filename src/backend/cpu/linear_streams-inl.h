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
  KVPARETO_INLINE StreamedBlock(BlockPlanes at, const uint8_t* zeros) : PackedBlock<kCodec>{at}, zeros_(zeros) {}
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

// All bits of a codec, as stream_panels() reads them.
template <WeightCodec kCodec>
struct WholeCodes {
  static constexpr WeightCodec kOf = kCodec;
  template <int kStep>
  using KindOfStep = KindOf<kCodec, kStep>;

  KVPARETO_INLINE static void unpack_scales_of(const UnitWalk<kCodec>& walk, float* scales, float* offsets) {
    for (int64_t line = 0; line < UnitWalk<kCodec>::kHeader; line += 64) {
      __builtin_prefetch(walk.header() + kStreamAhead + line);
    }
    unpack_scales<kCodec>(walk.header(), scales, offsets);
  }
  KVPARETO_INLINE static auto block(const UnitWalk<kCodec>& walk, int64_t b) {
    walk.tell(b, kStreamAhead);
    return StreamedBlock<kCodec>(walk.block(b), walk.zeros());
  }
  static void begin(const PanelJob& job, int64_t panel, int64_t rows, float* sums) {
    begin_sums<kPanelRows>(job, panel, true, 0, 1, rows, sums);
  }
  static void end(const PanelJob& job, int64_t panel, int64_t rows, const float* sums) {
    end_sums<kPanelRows>(job, panel, 0, 1, rows, sums);
  }
};

// Columns [begin, begin + columns) of a panel, whose units `walk` has come to, times the job's only input, added to
// sums [16]; codes go from memory to products without a stop.
template <typename Source, int kStep>
KVPARETO_INLINE void stream_turn(const PanelJob& job, UnitWalk<Source::kOf>& walk, int64_t begin, int64_t columns,
                                 float* sums) {
  constexpr WeightCodecInfo kInfo = info_of(Source::kOf);
  const int64_t unit_columns = kInfo.unit > 0 ? kInfo.unit : job.format().group;
  const int64_t blocks = unit_columns / kPanelColumns;
  const int sub_bits = bits_of(kInfo.sub > 0 ? kInfo.sub : static_cast<int>(unit_columns));
  alignas(64) float scales[kMostSubs * kPanelRows], offsets[kMostSubs * kPanelRows];
  for (int64_t c = begin; c < begin + columns; c += unit_columns) {
    Source::unpack_scales_of(walk, scales, offsets);
    add_blocks<typename Source::template KindOfStep<kStep>, 1, 1>(
        TileInputs<1>(job, 0, c, sub_bits), blocks, sub_bits, [&](int64_t b) { return Source::block(walk, b); },
        {scales, offsets}, sums);
    walk.next_unit(blocks);
  }
}

template <typename Source, int kStep>
void stream_panels(const PanelJob& job, int64_t first, int64_t last) {
  const int64_t turn = std::max<int64_t>(kTurnColumns, job.format().unit());
  // Each stream goes through neighbouring panels, so that what is prefetched behind the end of one is the next.
  const int64_t each = (last - first + kStreams - 1) / kStreams;
  for (int64_t p = first; p < first + each; ++p) {
    const int64_t count = (last - p + each - 1) / each;  // of streams that have such a panel still
    const int64_t panels[kStreams] = {p, count > 1 ? p + each : p};
    UnitWalk<Source::kOf> walks[kStreams] = {{job.panels + panels[0], 0}, {job.panels + panels[1], 0}};
    const auto rows_of = [&](int64_t s) { return std::min<int64_t>(kPanelRows, job.rows - panels[s] * kPanelRows); };
    alignas(64) float sums[kStreams * kPanelRows];
    for (int64_t s = 0; s < count; ++s) Source::begin(job, panels[s], rows_of(s), sums + s * kPanelRows);
    for (int64_t c = 0; c < job.columns(); c += turn) {
      for (int64_t s = 0; s < count; ++s) {
        stream_turn<Source, kStep>(job, walks[s], c, std::min(turn, job.columns() - c), sums + s * kPanelRows);
      }
    }
    for (int64_t s = 0; s < count; ++s) Source::end(job, panels[s], rows_of(s), sums + s * kPanelRows);
  }
}
static_assert(kStreams == 2);

void stream(const PanelJob& job, int64_t first, int64_t last) {
  switch (job.format().codec) {
#define KVPARETO_CASE(codec)              \
  case WeightCodec::codec:                \
    return with_step<WeightCodec::codec>( \
        job.format(), [&](auto step) { stream_panels<WholeCodes<WeightCodec::codec>, step>(job, first, last); });
    KVPARETO_WEIGHT_CODECS(KVPARETO_CASE)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      return;
  }
}
