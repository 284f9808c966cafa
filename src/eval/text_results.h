#pragma once
// What evaluators of one search share: a measurement on more texts pays only for those that the same point was not
// measured on before, and the baseline is run once a text.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "eval/divergence.h"
#include "study/point.h"

namespace kvpareto {

// What one pass of a text through a cache left.
struct TextResult {
  std::vector<TokenScore> scores;
  double prefill_seconds = 0, decode_seconds = 0, seconds = 0;
};

// By what was fed and how (a fingerprint of tokens, lengths and step), and by point. In memory alone.
class TextResults {
 public:
  // Null if there is none.
  const TextResult* find(const Point& point, uint64_t text) const {
    const auto found = results_.find({to_text(point), text});
    return found == results_.end() ? nullptr : &found->second;
  }
  void keep(const Point& point, uint64_t text, TextResult result) {
    results_[{to_text(point), text}] = std::move(result);
  }
  // The baseline's hidden states f32 [scored, hidden].
  const std::vector<float>* find_reference(uint64_t text) const {
    const auto found = references_.find(text);
    return found == references_.end() ? nullptr : &found->second;
  }
  void keep_reference(uint64_t text, std::vector<float> states) { references_[text] = std::move(states); }

 private:
  std::map<std::pair<std::string, uint64_t>, TextResult> results_;
  std::map<uint64_t, std::vector<float>> references_;
};

}  // namespace kvpareto
