#pragma once
// Where the bytes of a quantized weight matrix lie. Sixteen rows stand together in a panel, unit after unit: first what
// all rows of a unit hold beside their codes, then the codes. One panel is one sequential stream, and as many bytes as
// the rows' blocks would be one by one.
//
//   unit      halves [n][16 rows] f16, bytes [n][16 rows], then a block for every 32 columns
//   block     the plane of the low bits, then that of the high bits (none for codes of 8 or 4 bits)
//   plane     of b bits: b vectors of 64 bytes; byte 4 r + k % 4 of vector j holds the codes of row r whose column
//             k has k / 4 % 8 = j, j + b, ..., lowest bits first
//
// Planes that lie apart (is_apart()): a block is its plane of high bits; behind the last panel of the matrix come the
// planes of low bits, panel after panel, block after block.
//
// So a vector of bytes, shifted and masked, is the operand of an integer product of four columns: no shuffle anywhere.

#include "quant/weight_codec.h"

namespace kvpareto {

inline constexpr int kPanelRows = 16;
inline constexpr int kPanelColumns = 32;                        // of a block
inline constexpr int kSteps = 8;                                // of a block: four columns each
inline constexpr int kPlaneBytes = 4 * kPanelRows;              // of one bit
inline constexpr int kBlockCodes = kPanelColumns * kPanelRows;  // [8 steps][16 rows][4 columns]

KVPARETO_INLINE constexpr size_t unit_header_bytes(const WeightFormat& format) {
  return static_cast<size_t>(kPanelRows * (2 * info_of(format.codec).halves + info_of(format.codec).bytes));
}
// From block to block of a unit, and what lies elsewhere of each.
KVPARETO_INLINE constexpr size_t panel_block_bytes(const WeightFormat& format) {
  return static_cast<size_t>((is_apart(format.codec) ? info_of(format.codec).high_bits : format.bits()) * kPlaneBytes);
}
KVPARETO_INLINE constexpr size_t apart_bytes(const WeightFormat& format) {
  return static_cast<size_t>(is_apart(format.codec) ? info_of(format.codec).low_bits * kPlaneBytes : 0);
}
// From unit to unit.
KVPARETO_INLINE constexpr size_t unit_bytes(const WeightFormat& format) {
  return unit_header_bytes(format) + panel_block_bytes(format) * static_cast<size_t>(format.unit() / kPanelColumns);
}
// Of a matrix whose columns are a multiple of the unit: from panel to panel, and what lies elsewhere of each.
KVPARETO_INLINE constexpr size_t panel_bytes(const WeightFormat& format, int64_t columns) {
  return unit_bytes(format) * static_cast<size_t>(columns / format.unit());
}
KVPARETO_INLINE constexpr size_t apart_panel_bytes(const WeightFormat& format, int64_t columns) {
  return apart_bytes(format) * static_cast<size_t>(columns / kPanelColumns);
}
constexpr int64_t panels_of(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
// Rows are filled up to whole panels.
constexpr size_t packed_weight_bytes(const WeightFormat& format, int64_t rows, int64_t columns) {
  return (panel_bytes(format, columns) + apart_panel_bytes(format, columns)) * static_cast<size_t>(panels_of(rows));
}

// One panel of a matrix of so many columns, or the first of several. Byte: uint8_t, const to read.
template <typename Byte>
struct BasicPanel {
  WeightFormat format;
  int64_t columns;
  Byte* units;
  Byte* low;  // its planes of low bits, where they lie apart

  // Of all panels of a matrix.
  static BasicPanel first_of(const WeightFormat& format, int64_t rows, int64_t columns, Byte* bytes) {
    return {format, columns, bytes, bytes + panel_bytes(format, columns) * static_cast<size_t>(panels_of(rows))};
  }
  // The panel so many behind this one.
  KVPARETO_INLINE BasicPanel operator+(int64_t panels) const {
    const auto count = static_cast<size_t>(panels);
    return {format, columns, units + panel_bytes(format, columns) * count,
            low + apart_panel_bytes(format, columns) * count};
  }
  // The unit of a column.
  KVPARETO_INLINE Byte* unit(int64_t column) const {
    return units + unit_bytes(format) * static_cast<size_t>(column / format.unit());
  }
};
using Panel = BasicPanel<const uint8_t>;

// The planes of one block; the high one is of no meaning for codes of one plane.
template <typename Byte>
struct BasicBlock {
  Byte *low, *high;

  // Of the block of a column.
  KVPARETO_INLINE static BasicBlock of(const BasicPanel<Byte>& panel, int64_t column) {
    const WeightFormat& format = panel.format;
    Byte* block = panel.unit(column) + unit_header_bytes(format) +
                  panel_block_bytes(format) * static_cast<size_t>(column % format.unit() / kPanelColumns);
    if (!is_apart(format.codec)) return {block, block + info_of(format.codec).low_bits * kPlaneBytes};
    return {panel.low + apart_bytes(format) * static_cast<size_t>(column / kPanelColumns), block};
  }
};
using BlockPlanes = BasicBlock<const uint8_t>;

// Puts one unit of all sixteen rows into its place in a panel.
void pack_unit(const WeightUnit* rows, const BasicPanel<uint8_t>& panel, int64_t unit);

// Codes of one block, u8 [8 steps][16 rows][4 columns].
KVPARETO_INLINE void plain_unpack_block(const WeightFormat& format, BlockPlanes planes, uint8_t* codes) {
  const WeightCodecInfo& info = info_of(format.codec);
  const int low = info.low_bits, high = info.high_bits;
  for (int step = 0; step < kSteps; ++step) {
    const uint8_t* vector = planes.low + step % low * kPlaneBytes;
    const int shift = step / low * low, mask = (1 << low) - 1;
    for (int i = 0; i < kPlaneBytes; ++i) {
      int code = vector[i] >> shift & mask;
      if (high > 0) {
        code |= (planes.high[step % high * kPlaneBytes + i] >> (step / high * high) & ((1 << high) - 1)) << low;
      }
      codes[step * kPlaneBytes + i] = static_cast<uint8_t>(code);
    }
  }
}

// The code of a row's column c in its block.
KVPARETO_INLINE int code_of(const WeightCodecInfo& info, BlockPlanes planes, int64_t row, int c) {
  const auto bits_at = [&](const uint8_t* plane, int bits) {
    const int step = c / 4;
    return plane[step % bits * kPlaneBytes + 4 * row + c % 4] >> (step / bits * bits) & ((1 << bits) - 1);
  };
  const int low = bits_at(planes.low, info.low_bits);
  return info.high_bits == 0 ? low : low | bits_at(planes.high, info.high_bits) << info.low_bits;
}

// One row of a panel as numbers [columns], in the arithmetic of their type.
template <typename Number>
void decode_panel_row(const Panel& panel, int64_t place, Number* out) {
  const WeightFormat& format = panel.format;
  const WeightCodecInfo& info = info_of(format.codec);
  const int run = format.sub() < kPanelColumns ? format.sub() : kPanelColumns;  // columns of one scale inside a block
  for (int64_t c = 0; c < panel.columns; c += run) {
    const auto inside = static_cast<int>(c % format.unit());
    const uint8_t* unit = panel.unit(c);
    const auto* halves = reinterpret_cast<const f16*>(unit) + place;
    const uint8_t* bytes = unit + info.halves * kPanelRows * 2 + place;
    const BlockPlanes planes = BlockPlanes::of(panel, c);
    float scale, offset;
    read_scale(format.codec, halves, bytes, kPanelRows, inside / format.sub(), scale, offset);
    for (int i = 0; i < run; ++i) {
      const int code = code_of(info, planes, place, inside % kPanelColumns + i);
      out[c + i] = static_cast<Number>(scale) * static_cast<Number>(code) - static_cast<Number>(offset);
    }
  }
}

}  // namespace kvpareto
