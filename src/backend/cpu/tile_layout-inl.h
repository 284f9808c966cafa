// Inputs and weights as tiles of bf16 products want them; see amx_linear.cc, which includes this once, in its namespace
// and target.

constexpr int64_t kStepColumns = 2 * kTileSide;              // of one tile product
constexpr int64_t kBlockSide = 2 * kTileSide;                // tokens and rows of a block of sums
constexpr int64_t kTile = kTileSide * kTileSide;             // numbers of f32, or pairs of bf16, in a tile
constexpr int64_t kStepInputs = 4 * kTile;                   // bf16 of a block of tokens: two tiles
constexpr int64_t kPanelPairs = kSliceColumns * kPanelRows;  // bf16 of one panel of a slice

int64_t whole_blocks(int64_t tokens) { return (tokens + kBlockSide - 1) / kBlockSide; }

// Columns [begin, begin + columns) of inputs [token, token + tokens) as [tokens / 32][columns / 32][32][32], zeros
// behind the last of them.
void lay_out_inputs(const Tensor& x, int64_t token, int64_t tokens, int64_t begin, int64_t columns, bf16* to) {
  parallel_ranges(whole_blocks(tokens) * kBlockSide, kBlockSide, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      bf16* place = to + t / kBlockSide * kBlockSide * columns + t % kBlockSide * kStepColumns;
      const bf16* from = t < tokens ? x.row<bf16>(token + t) + begin : nullptr;
      for (int64_t c = 0; c < columns; c += kStepColumns, place += kStepInputs) {
        _mm512_storeu_si512(place, from != nullptr ? _mm512_loadu_si512(from + c) : _mm512_setzero_si512());
      }
    }
  });
}

// Rows [first, first + rows) of a weight, at most 16, as many as are there; `first` begins a panel.
struct PanelRows {
  const WeightSegment* weight;
  int64_t first, rows;
};
// Columns [begin, begin + columns) of two such panels.
struct Slice {
  PanelRows panels[2];
  int64_t begin, columns;
};

// A slice on its way to pairs, bf16 [2 panels][column / 2][16 rows][2], a few columns of a panel at a time. Rows past
// the last of the weight are left as they were: no sum of theirs is kept. Meanwhile the memory is told of the slice
// after it, which gains up to 8 % with weights of bf16.
class Pairs {
 public:
  static constexpr int64_t kScratch = 2 * PanelSlice::kFloats;  // floats

  // Codes of few bits become bytes at once.
  Pairs(const Slice& slice, const Slice& after, const LinearKernels& kernels, float* scratch, bf16* to)
      : slice_(slice), after_(after), to_(to), from_{PanelSlice(scratch), PanelSlice(scratch + PanelSlice::kFloats)} {
    for (int p = 0; p < 2 && slice.panels[p].rows > 0; ++p) {
      const PanelRows& rows = slice.panels[p];
      const WeightSegment& weight = *rows.weight;
      left_ += slice.columns / columns_at_once(p);
      if (weight.is_bf16()) continue;
      kernels.unpack(panel_at(rows), slice.begin, slice.columns, from_[p]);
    }
    begin_panel();
  }

  int64_t left() const { return left_; }
  KVPARETO_INLINE void make_some() {
    bf16* to = to_ + panel_ * kPanelPairs + column_ * kPanelRows;
    if (at_once_ == kFewColumns) {
      widen(from_[panel_], to);
      _mm_prefetch(told_, _MM_HINT_T1);
      told_ += told_step_;
    } else {
      turn(slice_.panels[panel_], to);
      for (int r = 0; r < kPanelRows; ++r) _mm_prefetch(told_ + r * told_step_, _MM_HINT_T1);
      told_ += kStepColumns * sizeof(bf16);
    }
    --left_;
    column_ += at_once_;
    if (column_ < slice_.columns || left_ == 0) return;
    column_ = 0;
    ++panel_;
    begin_panel();
  }

 private:
  static constexpr int64_t kFewColumns = 4;

  int64_t columns_at_once(int panel) const {
    return slice_.panels[panel].weight->is_bf16() ? kStepColumns : kFewColumns;
  }
  static Panel panel_at(const PanelRows& rows) { return rows.weight->panels() + rows.first / kPanelRows; }
  void begin_panel() {
    at_once_ = columns_at_once(panel_);
    const PanelRows& next = after_.panels[panel_];
    const WeightFormat& format = slice_.panels[panel_].weight->format;
    sub_bits_ = std::countr_zero(static_cast<uint64_t>(format.sub()));
    if (next.weight->is_bf16()) {
      told_ = reinterpret_cast<const char*>(next.weight->row(next.first) + after_.begin);
      told_step_ = next.weight->columns * static_cast<int64_t>(sizeof(bf16));
    } else {
      const auto unit = static_cast<int64_t>(unit_bytes(next.weight->format));
      told_ = reinterpret_cast<const char*>(panel_at(next).unit(after_.begin));
      told_step_ = unit * kFewColumns / next.weight->format.unit();
    }
  }

  KVPARETO_INLINE void widen(const PanelSlice& from, bf16* to) const {
    const int64_t group = (column_ >> sub_bits_) * kPanelRows;
    const __m512 scale = _mm512_loadu_ps(from.scales + group), offset = _mm512_loadu_ps(from.offsets + group);
    const __m512i codes = _mm512_loadu_si512(from.codes + column_ * kPanelRows);
    const auto number = [&](unsigned i) {
      const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(codes, 8 * i), _mm512_set1_epi32(255));
      return _mm512_fmsub_ps(_mm512_cvtepi32_ps(byte), scale, offset);
    };
    const auto put = [&](__m512 even, __m512 odd, bf16* place) {
      const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
      _mm512_storeu_si512(place, _mm512_permutexvar_epi16(turns_, both));
    };
    put(number(0), number(1), to);
    put(number(2), number(3), to + kStepColumns);
  }
  KVPARETO_INLINE void turn(const PanelRows& rows, bf16* to) const {
    __m512i words[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const int64_t row = rows.first + std::min<int64_t>(r, rows.rows - 1);
      words[r] = _mm512_loadu_si512(rows.weight->row(row) + slice_.begin + column_);
    }
    transpose(words);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) _mm512_storeu_si512(to + r * kStepColumns, words[r]);
  }

  // Word i of a vector of pairs is word i / 2 of its first half or of the second.
  static constexpr Words kTurns{[](int i) { return i / 2 + i % 2 * 16; }};
  const Slice slice_, after_;
  bf16* const to_;
  const PanelSlice from_[2];
  const __m512i turns_ = kTurns.load();
  int panel_ = 0, sub_bits_ = 0;
  int64_t left_ = 0, column_ = 0, at_once_ = 0;
  const char* told_ = nullptr;
  int64_t told_step_ = 0;  // from a few columns to the next ones, or from row to row
};
