#pragma once
// Products of many inputs in bf16 with weights of any format on the tiles of AMX; see amx_linear.cc.

#include <cstddef>

#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"

namespace kvpareto {

// Whether multiply_tiles() can: whole tiles of columns.
constexpr bool tiles_fit(int64_t columns) { return columns % 32 == 0; }

// out f32 [tokens, rows] (+)= bias + x [tokens, columns] . weight^T, x bf16. A weight of few bits is widened to bf16
// piece by piece, inputs are not rounded any further.
struct TileProduct {
  const WeightSegment& weight;
  const LinearKernels& kernels;
  const float* bias;  // [rows] or null
  bool accumulate;
  Tensor x, out;
};
void multiply_tiles(const TileProduct& product, void* scratch);
size_t tiles_scratch_bytes(int64_t tokens, int64_t columns);

// Whether multiply_gated_tiles() can: panels that lie in one part, of gate and of up alike.
bool gate_fits(const LinearSpec& spec);

// out bf16 [tokens, n] = silu(gate) * up of a weight [2n, columns], gate first; neither is ever in memory.
struct GatedTileProduct {
  const HostLinear& gate_up;
  const LinearKernels& kernels;
  Tensor x, out;
};
void multiply_gated_tiles(const GatedTileProduct& product, void* scratch);
size_t gated_tiles_scratch_bytes(int64_t tokens, int64_t columns);

}  // namespace kvpareto
