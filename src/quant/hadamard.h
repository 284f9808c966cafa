#pragma once
// The Walsh-Hadamard transform: an orthogonal rotation that spreads an outlier over all channels (QuaRot, arXiv
// 2404.00456). It is its own inverse.

#include "tensor/float_types.h"

namespace kvpareto {

// x [n] in place, O(n log n), scaled to keep lengths. Sizes that are no power of two are rotated in blocks of the
// largest power of two that divides them (96 = 3 * 32).
KVPARETO_INLINE void hadamard(float* x, int n) {
  const int block = n & -n;
  for (int half = 1; half < block; half *= 2) {
    for (int begin = 0; begin < n; begin += 2 * half) {
      for (int i = begin; i < begin + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(block));
  for (int i = 0; i < n; ++i) x[i] *= scale;
}

}  // namespace kvpareto
