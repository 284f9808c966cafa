#include "kv/rope.h"

#include <cmath>

namespace kvpareto {

void fill_turns(const Rope& rope, int64_t half, int64_t first, int64_t stride, int64_t count, float* turns) {
  for (int64_t c = 0; c < half; ++c) {
    const double frequency = std::pow(rope.base, -static_cast<double>(c) / static_cast<double>(half)) /
                             rope.slowdown[static_cast<size_t>(c)];
    for (int64_t i = 0; i < count; ++i) {
      const double angle = static_cast<double>(first + i * stride) * frequency;
      turns[2 * i * half + c] = static_cast<float>(rope.magnitude * std::cos(angle));
      turns[(2 * i + 1) * half + c] = static_cast<float>(rope.magnitude * std::sin(angle));
    }
  }
}

}  // namespace kvpareto
