#pragma once
// A measurement with something in every field, for tests.

#include <limits>

#include "study/measurement.h"

namespace kvpareto {

inline Measurement example_measurement(const Point& point = {"w16", "k8v4g64", 256}, double divergence = 0.0123) {
  Measurement m;
  m.point = point;
  m.regime = {
      "SmolLM2.gguf",     "0123456789abcdef",   4608, 4096, 512, 128, 8, "fedcba9876543210", "self-sampled, seed 1",
      "attend-then-pack", 0xffffffffffffffffull};
  m.values = {{"peak_bytes", {269.1e6, 0, 1}},
              {"kld_mean", {divergence, 1.0 / 3, 8}},
              {"needle", {1, std::numeric_limits<double>::quiet_NaN(), 1}},
              {"ppl", {std::numeric_limits<double>::infinity(), 0, 0}}};
  m.texts = {{"kld_mean", {0.1, 5e-324, -0.0, 1.7976931348623157e308}}, {"needle", {}}};
  m.samples = {{"needle", {"0123", "4567"}}, {"mmlu", {}}};
  m.provenance = {"0.1.0", "Zen 4, AVX-512, 2 threads", "2026-01-02T03:04:05Z", 12.5, "own.txt"};
  return m;
}

}  // namespace kvpareto
