#pragma once
// Weights that are chosen place by place, a place being one kind of linear of one layer, as a scheme of few words.

#include <span>

#include "quant/weight_scheme.h"

namespace kvpareto {

inline constexpr size_t kLinearKindCount = std::size(kLinearKinds);

// `places` [layers * kLinearKindCount]: all kinds of layer 0, then of layer 1, and so on. The scheme is what most
// places have, then each kind where most of its layers differ from that, then runs of layers of a kind: the same places
// always make the same text. The other members of the scheme are left as they are by default.
WeightScheme mixed_weights(std::span<const WeightChoice> places, const WeightChoice& table);

}  // namespace kvpareto
