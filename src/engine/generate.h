#pragma once
// Tokens chosen from logits, greedily or by chance.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/session.h"

namespace kvpareto {

struct Sampling {
  double temperature = 0;  // 0 is greedy
  double top_p = 1;        // nucleus: the fewest tokens with this mass (arXiv 1904.09751)
  int top_k = 0;           // 0 is all
};

// The next token. Ties go to the smaller id. `order` is space to sort in: kept from call to call, none allocates.
int32_t choose(std::span<const float> logits, const Sampling& sampling, Random& random, std::vector<int32_t>& order);

// Appends `prompt` and generates up to `max_tokens`; `emit` sees each token and returns whether to go on. Returns the
// tokens.
std::vector<int32_t> generate(Session& session, std::span<const int32_t> prompt, int max_tokens,
                              const Sampling& sampling, Random& random, const std::function<bool(int32_t)>& emit);

}  // namespace kvpareto
