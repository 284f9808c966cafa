#pragma once
// Rotary positions (RoPE, arXiv 2104.09864): the angles by which a head's pairs of channels (c, c + head_dim / 2) are
// turned.

#include <array>
#include <cstdint>

namespace kvpareto {

inline constexpr int kMostPairs = 512;  // of the largest head

// How fast every pair turns: by base^(-c / half) / slowdown[c] radians a token. Every kind of scaling for long contexts
// (model/rope_scaling.h) is such a table.
struct Rope {
  double base = 10000;
  // Of the turned pair: cosines and sines are multiplied by it, so scores by its square (YaRN, arXiv 2309.00071).
  double magnitude = 1;
  std::array<double, kMostPairs> slowdown = all(1);
  bool operator==(const Rope&) const = default;

  static constexpr std::array<double, kMostPairs> all(double value) {
    std::array<double, kMostPairs> values{};
    values.fill(value);
    return values;
  }
};

// Cosines, then sines of `count` positions first, first + stride, ...: f32 [count][2][half]. Angles in double: in f32
// they are off by 1e-3 at 128k tokens.
void fill_turns(const Rope& rope, int64_t half, int64_t first, int64_t stride, int64_t count, float* turns);

}  // namespace kvpareto
