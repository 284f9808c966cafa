#include "engine/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/interrupt.h"

namespace kvpareto {

int32_t choose(std::span<const float> logits, const Sampling& sampling, Random& random, std::vector<int32_t>& order) {
  if (sampling.temperature <= 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  order.resize(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t kept = sampling.top_k > 0 ? std::min(order.size(), static_cast<size_t>(sampling.top_k)) : order.size();
  const auto better = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const float highest = *std::max_element(logits.begin(), logits.end());
  const auto weight = [&](int32_t token) {
    return std::exp((static_cast<double>(logits[static_cast<size_t>(token)]) - highest) / sampling.temperature);
  };
  double mass = 0;
  size_t count = kept;
  if (kept < order.size()) {
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), better);
    order.resize(kept);
  }
  for (const int32_t token : order) mass += weight(token);
  if (sampling.top_p < 1) {
    // A vocabulary is long and a nucleus short: sort a growing front until it holds the mass.
    const double wanted = sampling.top_p * mass;
    size_t sorted = 0;
    double reached = 0;
    for (count = 0; count < order.size() && (count == 0 || reached < wanted); ++count) {
      if (count == sorted) {
        sorted = std::min(order.size(), std::max<size_t>(64, 4 * sorted));
        const auto front = static_cast<std::ptrdiff_t>(count);
        std::partial_sort(order.begin() + front, order.begin() + static_cast<std::ptrdiff_t>(sorted), order.end(),
                          better);
      }
      reached += weight(order[count]);
    }
    mass = reached;
  }
  double left = random.uniform() * mass;
  for (size_t i = 0; i < count; ++i) {
    left -= weight(order[i]);
    if (left < 0) return order[i];
  }
  return order[count - 1];
}

std::vector<int32_t> generate(Session& session, std::span<const int32_t> prompt, int max_tokens,
                              const Sampling& sampling, Random& random, const std::function<bool(int32_t)>& emit) {
  std::vector<int32_t> tokens, order;
  if (prompt.empty() || max_tokens < 1) return tokens;
  session.prefill(prompt.first(prompt.size() - 1));
  int32_t last = prompt.back();
  // The first step is always tried: a prompt that does not fit is an error, not silence.
  while (static_cast<int>(tokens.size()) < max_tokens &&
         (tokens.empty() || session.tokens() < session.options().context)) {
    stop_if_interrupted();
    last = sampling.temperature <= 0 ? session.greedy_next({&last, 1})
                                     : choose(session.next({&last, 1}), sampling, random, order);
    tokens.push_back(last);
    if (!emit(last)) break;
  }
  return tokens;
}

}  // namespace kvpareto
