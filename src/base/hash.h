#pragma once
// Fingerprints of data (XXH3, not cryptographic): to tell whether two measurements saw the same bytes.

#include <fmt/format.h>
#include <xxhash.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace kvpareto {

inline uint64_t hash_bytes(const void* data, size_t size, uint64_t seed = 0) {
  return XXH3_64bits_withSeed(data, size, seed);
}
inline uint64_t hash_text(std::string_view text, uint64_t seed = 0) {
  return hash_bytes(text.data(), text.size(), seed);
}
inline std::string fingerprint(uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace kvpareto
