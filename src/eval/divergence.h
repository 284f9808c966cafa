#pragma once
// How far a packed cache moves the model's next-token distribution: Kullback-Leibler divergence KL(baseline ||
// candidate) of every scored position, the text fed through the cache so that each score reads packed K and V.
//
// The reference is what the 16-bit baseline's hidden states were, f32 [scored, hidden]; the head makes logits of them
// again, a few rows at a time. That is exact, and vocabulary / hidden (85x for SmolLM2) smaller than keeping logits.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/statistics.h"
#include "engine/session.h"

namespace kvpareto {

// One position.
struct TokenScore {
  double divergence = 0;                // nats
  double loss = 0, reference_loss = 0;  // -log p of the text's next token, nats; NaN where the text ends
  bool same_top = false;                // the likeliest token is the reference's; ties go to the smaller id
};

inline constexpr int32_t kNoTarget = -1;

// Both distributions over the same vocabulary, softmax and sums in double: off by less than 1e-12 nats, and exactly 0
// for equal logits; NaN or infinite if a logit is. `target` is the text's next token or kNoTarget.
TokenScore compare_logits(std::span<const float> reference, std::span<const float> candidate, int32_t target);

// Compares hidden states f32 [n, hidden] of the same n positions of `tokens` from `first` on, each put through a head
// of its own, which may be another model's with the same vocabulary; the sessions lend heads and logits memory and are
// not changed otherwise, and may be one and the same. `progress` gets the positions done in this call. Throws Error
// (kFailure) if a logit is not finite.
std::vector<TokenScore> compare_hidden(Session& reference_head, std::span<const float> reference, Session& head,
                                       std::span<const float> candidate, std::span<const int32_t> tokens, int64_t first,
                                       const std::function<void(int64_t)>& progress = {});

// The figures of divergence over texts, and the value of each text for pairing.
struct DivergenceFigures {
  std::map<std::string, Estimate> values;            // kld_mean kld_p999 same_top delta_nll ppl
  std::map<std::string, std::vector<double>> texts;  // the same names
};

// Means over texts of the texts' means, with the standard error between texts. A single text is cut into blocks of
// kBlockPositions neighbours, whose means stand in for the texts': neighbours are alike, positions alone would give an
// error that is too small. kld_p999 is a quantile of all positions together, its error from the jackknife over texts
// (or blocks); ppl = exp(mean loss), its error by the delta method.
inline constexpr int64_t kBlockPositions = 64;
DivergenceFigures summarize(std::span<const std::vector<TokenScore>> texts);

}  // namespace kvpareto
