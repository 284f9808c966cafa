// Whole panels: which tiles and in which order. See linear_tiles-inl.h.

// Columns unpacked at once where so few tokens share them: short, so that reading and multiplying overlap.
constexpr int64_t kStreamedColumns = 256, kStreamedTokens = 12;

using Tile = void (*)(const PanelJob& job, const PanelSlice& slice, int64_t begin, int64_t columns, int64_t token,
                      float* sums);

constexpr int kLargestTile = std::max(kMostTokens, kMostFloatTokens);
using Tiles = std::array<Tile, kLargestTile + 1>;  // by the number of tokens

template <int kBits, int kStep, int kPanels, size_t... kTokens>
constexpr Tiles int8_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_int8<kBits, kStep, kPanels, static_cast<int>(kTokens) + 1>...};
}
template <int kBits, int kStep, int kPanels>
constexpr Tiles kInt8Tiles =
    int8_table<kBits, kStep, kPanels>(std::make_index_sequence<kBits == 8 ? kMostByteTokens : kMostTokens>());

template <size_t... kTokens>
constexpr Tiles float_table(std::index_sequence<kTokens...>) {
  return {nullptr, tile_float<static_cast<int>(kTokens) + 1>...};
}
constexpr Tiles kFloatTiles = float_table(std::make_index_sequence<kMostFloatTokens>());

template <int kPanels>
const Tiles& int8_tiles(const WeightFormat& format) {
  const bool wide = step_of(format.sub()) == kWide;
  switch (format.bits()) {
    case 5:
      return kInt8Tiles<5, 32, kPanels>;
    case 6:
      return kInt8Tiles<6, 16, kPanels>;
    case 8:
      return wide ? kInt8Tiles<8, kWide, kPanels> : kInt8Tiles<8, 32, kPanels>;
    default:
      return wide ? kInt8Tiles<4, kWide, kPanels> : kInt8Tiles<4, 32, kPanels>;
  }
}

// One slice of kPanels panels, or of those that are left, times all inputs; its sums so far are in the job's result.
template <int kPanels>
void multiply_slice(const PanelJob& job, int64_t panel, int64_t begin, int64_t columns, float* scratch,
                    const Tiles& tiles, int64_t most) {
  constexpr int kRows = kPanels * kPanelRows;
  const int64_t rows = std::min<int64_t>(kRows, job.rows - panel * kPanelRows);
  for (int64_t p = 0; p < kPanels; ++p) {
    float* floats = scratch + p * PanelSlice::kFloats;
    if (p * kPanelRows < rows) {
      const uint8_t* bytes = job.panels + panel_bytes(job.format, job.columns) * static_cast<size_t>(panel + p);
      unpack(job.format, bytes, begin, columns, PanelSlice(floats));
    } else {
      std::fill_n(floats, PanelSlice::kFloats, 0.0f);
    }
  }
  for (int64_t t = 0; t < job.tokens;) {
    const int64_t count = std::min(most, job.tokens - t);
    alignas(64) float sums[kLargestTile * kRows];
    begin_sums<kRows>(job, panel, begin == 0, t, count, rows, sums);
    tiles[static_cast<size_t>(count)](job, PanelSlice(scratch), begin, columns, t, sums);
    end_sums<kRows>(job, panel, t, count, rows, sums);
    t += count;
  }
}

// Few tokens read panels as one stream. Many read a slice of all panels before the next: their inputs of a slice stay
// in the second-level cache.
template <int kPanels>
void each_panel(const PanelJob& job, int64_t first, int64_t last, float* scratch, const Tiles& tiles, int64_t most) {
  const auto multiply = [&](int64_t panel, int64_t begin, int64_t at_once) {
    multiply_slice<kPanels>(job, panel, begin, std::min(at_once, job.columns - begin), scratch, tiles, most);
  };
  if (job.tokens <= kStreamedTokens) {
    for (int64_t p = first; p < last; p += kPanels) {
      for (int64_t begin = 0; begin < job.columns; begin += kStreamedColumns) multiply(p, begin, kStreamedColumns);
    }
    return;
  }
  for (int64_t begin = 0; begin < job.columns; begin += kSliceColumns) {
    for (int64_t p = first; p < last; p += kPanels) multiply(p, begin, kSliceColumns);
  }
}

int64_t tile_tokens(const WeightFormat& format) { return format.bits() == 8 ? kMostByteTokens : kMostTokens; }

void panels_int8(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  if (job.tokens == 1) return stream(job, first, last);
  // Two panels at once would be two streams, each slower than the one.
  if (job.tokens <= kStreamedTokens)
    return each_panel<1>(job, first, last, scratch, int8_tiles<1>(job.format), job.tile);
  each_panel<Vectors::kPanels>(job, first, last, scratch, int8_tiles<Vectors::kPanels>(job.format), job.tile);
}

void panels_float(const PanelJob& job, int64_t first, int64_t last, float* scratch) {
  each_panel<1>(job, first, last, scratch, kFloatTiles, kMostFloatTokens);
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
