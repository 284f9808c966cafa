#pragma once
// A number that tells one model file from another without reading all of it.

#include <cstdint>
#include <span>

#include "base/hash.h"

namespace kvpareto {

// Of the header, the size, and samples of the data behind `data_begin`.
inline uint64_t fingerprint_of(std::span<const uint8_t> bytes, uint64_t data_begin, uint64_t seed) {
  constexpr size_t kSamples = 64, kSampleBytes = 4096;
  const std::span<const uint8_t> data = bytes.subspan(data_begin);
  uint64_t hash = hash_bytes(bytes.data(), data_begin, seed ^ bytes.size());
  if (data.size() <= kSamples * kSampleBytes) return hash_bytes(data.data(), data.size(), hash);
  for (size_t i = 0; i < kSamples; ++i) {
    const size_t begin = (data.size() - kSampleBytes) * i / (kSamples - 1);
    hash = hash_bytes(data.data() + begin, kSampleBytes, hash);
  }
  return hash;
}

}  // namespace kvpareto
