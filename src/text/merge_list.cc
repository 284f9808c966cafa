#include "text/merge_list.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "text/unicode.h"

namespace kvpareto {
namespace {

constexpr size_t kLongestPiece = 1024;  // bytes; SentencePiece makes none longer than 16 characters
constexpr int32_t kNormal = 1;

struct Pair {
  int32_t left, right, rank, merged;
};

// Places of each token, best score first; equal scores share a place.
std::vector<int32_t> places(const std::vector<float>& scores) {
  std::vector<int32_t> order(scores.size()), place(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](int32_t token) { return scores[static_cast<size_t>(token)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
  for (size_t i = 1; i < order.size(); ++i) {
    const bool equal = score(order[i]) == score(order[i - 1]);
    place[static_cast<size_t>(order[i])] = equal ? place[static_cast<size_t>(order[i - 1])] : static_cast<int32_t>(i);
  }
  return place;
}

}  // namespace

Merges listed_merges(const Vocabulary& vocabulary, const TokenIds& ids) {
  const std::vector<std::string>& lines = vocabulary.merges;
  if (lines.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    fail("the tokenizer has {} merges", lines.size());
  Merges merges(lines.size());
  for (size_t rank = 0; rank < lines.size(); ++rank) {
    const std::string_view line = lines[rank];
    const size_t space = line.find(' ');
    if (space == 0 || space >= line.size() - 1 || line.find(' ', space + 1) != line.npos) {
      fail("merge {} of the tokenizer is '{}'; wanted two tokens and a space between", rank, shown(line));
    }
    const auto id_of = [&](std::string_view token) {
      const auto found = ids.find(token);
      if (found == ids.end())
        fail("merge {} of the tokenizer, '{}', needs '{}', which is no token", rank, shown(line), shown(token));
      return found->second;
    };
    const std::string_view left = line.substr(0, space), right = line.substr(space + 1);
    const int32_t left_id = id_of(left), right_id = id_of(right);
    merges.add(left_id, right_id, static_cast<int32_t>(rank), id_of(std::string(left) + std::string(right)));
  }
  return merges;
}

Merges scored_merges(const Vocabulary& vocabulary, const TokenIds& ids) {
  const size_t count = vocabulary.tokens.size();
  if (vocabulary.scores.size() != count) {
    fail("the tokenizer has {} scores for {} tokens", vocabulary.scores.size(), count);
  }
  for (const float score : vocabulary.scores) {
    if (std::isnan(score)) fail("the tokenizer has a score that is no number");
  }
  const std::vector<int32_t> place = places(vocabulary.scores);
  std::vector<Pair> pairs;
  for (size_t token = 0; token < count; ++token) {
    const std::string_view text = vocabulary.tokens[token];
    if (!vocabulary.token_types.empty() && vocabulary.token_types[token] != kNormal) continue;
    if (text.size() > kLongestPiece)
      fail("token {} of the tokenizer has {} bytes, more than {}", token, text.size(), kLongestPiece);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      pairs.push_back({left->second, right->second, place[token], static_cast<int32_t>(token)});
    }
  }
  Merges merges(pairs.size());
  for (const Pair& pair : pairs) merges.add(pair.left, pair.right, pair.rank, pair.merged);
  return merges;
}

}  // namespace kvpareto
