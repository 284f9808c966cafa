#include "text/special_tokens.h"

#include <algorithm>

namespace kvpareto {

SpecialTokens::SpecialTokens(std::vector<std::pair<std::string_view, int32_t>> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const auto& token) { return token.first.empty(); });
  std::sort(tokens_.begin(), tokens_.end());
  for (const auto& [text, id] : tokens_) begins_[static_cast<uint8_t>(text[0])] = true;
}

// Narrows the sorted tokens byte by byte to those that begin like the text.
SpecialTokens::Found SpecialTokens::longest_at(std::string_view text, size_t begin) const {
  Found found{begin, 0, -1};
  auto first = tokens_.begin(), last = tokens_.end();
  for (size_t depth = 0; begin + depth < text.size(); ++depth) {
    const auto byte = static_cast<uint8_t>(text[begin + depth]);
    const auto byte_of = [depth](const auto& token) { return static_cast<uint8_t>(token.first[depth]); };
    first = std::partition_point(first, last, [&](const auto& token) { return byte_of(token) < byte; });
    last = std::partition_point(first, last, [&](const auto& token) { return byte_of(token) == byte; });
    if (first == last) break;
    if (first->first.size() > depth + 1) continue;
    found = {begin, depth + 1, first->second};
    if (++first == last) break;
  }
  return found;
}

SpecialTokens::Found SpecialTokens::find(std::string_view text, size_t from) const {
  if (tokens_.empty()) return {};
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<uint8_t>(text[begin])]) continue;
    const Found found = longest_at(text, begin);
    if (found.size > 0) return found;
  }
  return {};
}

}  // namespace kvpareto
