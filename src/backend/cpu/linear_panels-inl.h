// Whole panels: which tiles and in which order. See linear_tiles-inl.h.

// Columns unpacked at once where so few tokens share them: short, so that reading and multiplying overlap.
constexpr int64_t kStreamedColumns = 256, kStreamedTokens = 12;

using Tile = void (*)(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                      float* sums);

constexpr int kLargestTile = std::max(kMostTokens, kMostFloatTokens);
using Tiles = std::array<Tile, kLargestTile + 1>;  // by the number of tokens

template <typename Kind, int kPanels, size_t... kTokens>
constexpr Tiles int8_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_int8<Kind, kPanels, static_cast<int>(kTokens) + 1>...};
}
template <typename Kind, int kPanels>
constexpr Tiles kInt8Tiles =
    int8_table<Kind, kPanels>(std::make_index_sequence<Kind::kBits == 8 ? kMostByteTokens : kMostTokens>());

template <size_t... kTokens>
constexpr Tiles float_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_float<static_cast<int>(kTokens) + 1>...};
}
constexpr Tiles kFloatTiles = float_table(std::make_index_sequence<kMostFloatTokens>());

template <int kPanels>
const Tiles& int8_tiles(const WeightFormat& format) {
  const Tiles* tiles = nullptr;
  switch (format.codec) {
#define KVPARETO_CASE(codec)                                                                                          \
  case WeightCodec::codec:                                                                                            \
    with_step<WeightCodec::codec>(                                                                                    \
        format, [&](auto step) { tiles = &kInt8Tiles<KindOf<WeightCodec::codec, decltype(step)::value>, kPanels>; }); \
    break;
    KVPARETO_WEIGHT_CODECS(KVPARETO_CASE)
#undef KVPARETO_CASE
    case WeightCodec::kBf16:
      break;
  }
  return *tiles;
}

// Bytes of a panel's columns before `columns`, whole units.
int64_t bytes_before(const PanelJob& job, int64_t columns) {
  return static_cast<int64_t>(panel_bytes(job.format(), columns));
}

// Slices of kPanels panels, or of those that are left, from column `begin` on.
struct SlicePlace {
  int64_t panel, begin, columns;
};

// What is unpacked next, told to the caches tile by tile: its reading hides behind products.
template <int kPanels>
class Ahead {
 public:
  Ahead(const PanelJob& job, SlicePlace next, int64_t tiles)
      : end_(next.panel * kPanelRows < job.rows ? bytes_before(job, next.columns) : 0),
        share_(end_ / tiles + 1),
        stride_(bytes_before(job, job.columns())),
        bytes_(job.panels.units + std::min(next.panel, (job.rows - 1) / kPanelRows) * stride_ +
               bytes_before(job, next.begin)) {}
  void go_on() {
    for (const int64_t until = std::min(end_, told_ + share_); told_ < until; told_ += 64) {
      for (int64_t p = 0; p < kPanels; ++p) __builtin_prefetch(bytes_ + p * stride_ + told_, 0, 2);
    }
  }

 private:
  int64_t end_, share_, stride_, told_ = 0;
  const uint8_t* bytes_;
};

// One slice times all inputs; its sums so far are in the job's result.
template <int kPanels>
void multiply_slice(const PanelJob& job, SlicePlace at, SlicePlace next, float* scratch, const Tiles& tiles,
                    int64_t most) {
  constexpr int kRows = kPanels * kPanelRows;
  const int64_t rows = std::min<int64_t>(kRows, job.rows - at.panel * kPanelRows);
  for (int64_t p = 0; p < kPanels; ++p) {
    float* floats = scratch + p * PanelSlice::kFloats;
    if (p * kPanelRows < rows) {
      unpack(job.panels + (at.panel + p), at.begin, at.columns, PanelSlice(floats));
    } else {
      std::fill_n(floats, PanelSlice::kFloats, 0.0f);
    }
  }
  Ahead<kPanels> ahead(job, next, (job.tokens + most - 1) / most);
  for (int64_t t = 0; t < job.tokens;) {
    const int64_t count = std::min(most, job.tokens - t);
    alignas(64) float sums[kLargestTile * kRows];
    ahead.go_on();
    begin_sums<kRows>(job, at.panel, at.begin == 0, t, count, rows, sums);
    tiles[static_cast<size_t>(count)](job, PanelSlice(scratch), at.begin, at.columns, t, sums);
    end_sums<kRows>(job, at.panel, t, count, rows, sums);
    t += count;
  }
}

// Few tokens read panels as one stream. Many read a slice of all panels before the next: their inputs of a slice stay
// in the second-level cache.
template <int kPanels>
void each_panel(const PanelJob& job, int64_t first, int64_t last, float* scratch, const Tiles& tiles, int64_t most) {
  const bool streamed = job.tokens <= kStreamedTokens;
  const int64_t at_once = streamed ? kStreamedColumns : kSliceColumns;
  const auto multiply = [&](int64_t panel, int64_t begin) {
    const int64_t columns = std::min(at_once, job.columns() - begin);
    // Behind a single tile nothing could hide.
    const SlicePlace next{panel + kPanels, begin, job.tokens > most ? columns : 0};
    multiply_slice<kPanels>(job, {panel, begin, columns}, next, scratch, tiles, most);
  };
  if (streamed) {
    for (int64_t p = first; p < last; p += kPanels) {
      for (int64_t begin = 0; begin < job.columns(); begin += at_once) multiply(p, begin);
    }
    return;
  }
  for (int64_t begin = 0; begin < job.columns(); begin += at_once) {
    for (int64_t p = first; p < last; p += kPanels) multiply(p, begin);
  }
}

int64_t tile_tokens(const WeightFormat& format) { return format.bits() == 8 ? kMostByteTokens : kMostTokens; }

void panels_int8(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  if (job.tokens == 1) return stream(job, first, last);
  // Two panels at once would be two streams, each slower than the one.
  if (job.tokens <= kStreamedTokens)
    return each_panel<1>(job, first, last, scratch, int8_tiles<1>(job.format()), job.tile);
  each_panel<Vectors::kPanels>(job, first, last, scratch, int8_tiles<Vectors::kPanels>(job.format()), job.tile);
}

void panels_float(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel<1>(job, first, last, scratch, kFloatTiles, kMostFloatTokens);
}

void widen_panel(const Panel& panel, int64_t rows, Tensor out, float* scratch) {
  const PanelSlice slice(scratch);
  const int64_t sub = panel.format.sub();
  for (int64_t begin = 0; begin < panel.columns; begin += kSliceColumns) {
    const int64_t count = std::min(kSliceColumns, panel.columns - begin);
    unpack(panel, begin, count, slice);
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
