#pragma once
// The longest context that fits.

#include "engine/session.h"

namespace kvpareto {

// Tokens of the longest context, up to what the model was trained for, at which a session takes no more than `bytes`; 0
// if not even one token does.
int longest_context(const ModelShape& shape, const WeightPlan& weights, const Backend& backend, const KvScheme& scheme,
                    int chunk, double bytes);

}  // namespace kvpareto
