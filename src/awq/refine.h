#pragma once
// Codes and scales that were found one after the other, gone over again: each is moved to where the output error is
// least while all others stay (coordinate descent: QuantEase, arXiv 2309.01885; CDQuant, arXiv 2406.17542).

#include <span>

#include "awq/factor.h"
#include "awq/round_weights.h"

namespace kvpareto {

// `passes` over the groups of every row: the codes of a group one by one, then its scale; zero points stay. With E the
// error of `rounded` against `weights` f32 [rows, columns], tr(E H E^T) never grows but by the rounding of f32.
// Deterministic, whatever the threads. 2 rows columns^2 multiplications a pass, half of that before.
void refine(Backend& backend, std::span<const float> weights, const Factor& factor, int passes,
            RoundedWeights& rounded);

}  // namespace kvpareto
