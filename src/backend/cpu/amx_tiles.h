#pragma once
// The tile registers of AMX: leave to use them and their shapes. Included by the files that compute with them.

#include <cstdint>

#include "tensor/float_types.h"

namespace kvpareto {

inline constexpr int kTileSide = 16;  // rows of a tile, and numbers of f32 in one

// Whether the processor has AMX bf16 and the system lets this process use it (asks for it).
bool amx_allowed();

// Shapes of the eight tiles, as ldtilecfg reads them: all whole. Tiles 0-3 are sums, 2 i + j of the i-th half of the
// left factor by the j-th of the right one; 4-5 the halves of the left, 6-7 of the right.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr TileConfiguration() {
    for (int tile = 0; tile < 8; ++tile) {
      rows[tile] = kTileSide;
      row_bytes[tile] = 4 * kTileSide;
    }
  }

  // In assembly, since g++ 12 believes that the intrinsic reads 8 bytes and leaves out stores to the rest.
  KVPARETO_INLINE void load() const { __asm__ volatile("ldtilecfg %0" : : "m"(*this)); }
};

}  // namespace kvpareto
