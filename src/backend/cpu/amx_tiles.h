#pragma once
// The tile registers of AMX: leave to use them and their shapes. Included by the files that compute with them.

#include <algorithm>
#include <cstdint>

#include "tensor/float_types.h"

namespace kvpareto {

inline constexpr int kTileSide = 16;  // rows of a tile, and numbers of f32 in one

// Whether the processor has AMX bf16 and int8 and the system lets this process use it (asks for it).
bool amx_allowed();

// Shapes of the eight tiles, as ldtilecfg reads them.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // Tiles 0-3 sums, 2 i + j the i-th half of `left` by the j-th of `right`; 4-5 the halves of the left factor, 6-7 of
  // the right one. Up to two tiles a side, the second may be short or missing.
  constexpr TileConfiguration(int64_t left, int64_t right) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) shape(2 * i + j, half(left, i), half(right, j));
      shape(4 + i, half(left, i), kTileSide);
      shape(6 + i, kTileSide, half(right, i));
    }
  }
  constexpr TileConfiguration() : TileConfiguration(2 * kTileSide, 2 * kTileSide) {}

  // In assembly, since g++ 12 believes that the intrinsic reads 8 bytes and leaves out stores to the rest.
  KVPARETO_INLINE void load() const { __asm__ volatile("ldtilecfg %0" : : "m"(*this)); }

 private:
  static constexpr int64_t half(int64_t count, int i) {
    return std::clamp<int64_t>(count - i * kTileSide, 0, kTileSide);
  }
  constexpr void shape(int tile, int64_t tile_rows, int64_t lanes) {
    if (tile_rows == 0 || lanes == 0) return;
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(4 * lanes);
  }
};

}  // namespace kvpareto
