#pragma once
// Rotary positions (RoPE, arXiv 2104.09864): the angles by which a head's pairs of channels (c, c + head_dim / 2) are
// turned.

#include <cstdint>

namespace kvpareto {

// Cosines, then sines of `count` positions first, first + stride, ...: f32 [count][2][half]. Angles in double: in f32
// they are off by 1e-3 at 128k tokens.
void fill_turns(double base, int64_t half, int64_t first, int64_t stride, int64_t count, float* turns);

}  // namespace kvpareto
