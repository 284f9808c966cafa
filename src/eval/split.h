#pragma once
// Which samples are for what. What a sample is about decides, by its hash: no seed, limit or prompt moves it, and the
// same question in a longer text stays where it is. Parts never overlap.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

enum class Split {
  kAll,
  kSearch,        // half: may steer what is tried next
  kVerification,  // two fifths: has the last word, never steers
  kCalibration    // one tenth: for fitting to, never for scores
};

std::vector<std::string> split_names();  // "all", "search", ...
// Throws Error (kUsage) with the nearest name.
Split parse_split(std::string_view name);

bool belongs(std::string_view key, Split split);

// Places of the first `limit` keys of the split in an order that the seed shuffles: raising the limit adds to the end.
// Fewer if there are not as many.
std::vector<size_t> choose_samples(std::span<const std::string> keys, Split split, uint64_t seed, int limit);

}  // namespace kvpareto
