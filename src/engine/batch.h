#pragma once
// Several sequences generated in step: the weights are read once for all of them.

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/generate.h"

namespace kvpareto {

// Each prompt (of 1 to `length` tokens) and its continuation, `length` tokens together, with a bf16 cache each, in
// lockstep. Sequence i draws from Random(seed + i). Tokens in `banned` (control tokens) are never drawn. `progress` is
// called with the steps done, of length - 1.
std::vector<std::vector<int32_t>> sample_batch(const Model& model, const std::vector<std::vector<int32_t>>& prompts,
                                               int length, const Sampling& sampling, uint64_t seed,
                                               const std::vector<int32_t>& banned,
                                               const std::function<void(int)>& progress = {});

}  // namespace kvpareto
