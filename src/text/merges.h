#pragma once
// Byte-pair merging (Sennrich et al. 2016): of all neighbours that may merge, those of the best rank do first, the
// leftmost of equals first, until none may.

#include <cstdint>
#include <span>
#include <vector>

namespace kvpareto {

// Which pairs of token ids merge, how early, and into what. Ids are not negative.
class Merges {
 public:
  // Room for `count` pairs.
  explicit Merges(size_t count);

  // A pair given twice keeps its last rank, as in Hugging Face's tokenizers. At most `count` calls.
  void add(int32_t left, int32_t right, int32_t rank, int32_t merged);

  // Appends the tokens that `symbols` merge into; n log n in their number. `symbols` has fewer than 2^32.
  void merge(std::span<const int32_t> symbols, std::vector<int32_t>& out) const;

 private:
  struct Pair {
    uint64_t key = kEmpty;
    int32_t rank = 0, merged = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  size_t slot(uint64_t key) const;
  const Pair* find(int32_t left, int32_t right) const;

  std::vector<Pair> table_;  // open addressing, at most half full; size is a power of two
};

}  // namespace kvpareto
