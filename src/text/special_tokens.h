#pragma once
// Tokens that are found in a text as they are written, before any word is cut.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace kvpareto {

class SpecialTokens {
 public:
  struct Found {
    size_t begin = 0, size = 0;  // bytes of the text; size 0: nothing found
    int32_t token = -1;
  };

  SpecialTokens() = default;
  // Texts and their ids; the texts must outlive this object. Empty texts are never found.
  explicit SpecialTokens(std::vector<std::pair<std::string_view, int32_t>> tokens);

  // The leftmost occurrence of any token in `text` at or after `from`, the longest if several begin there.
  Found find(std::string_view text, size_t from) const;

 private:
  Found longest_at(std::string_view text, size_t begin) const;

  std::vector<std::pair<std::string_view, int32_t>> tokens_;  // sorted by text
  bool begins_[256] = {};                                     // bytes with which some token begins
};

}  // namespace kvpareto
