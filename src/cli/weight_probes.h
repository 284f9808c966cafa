#pragma once
// Weights of one kind of linear of one layer in few bits, all else in 16; and what the losses suggest.

#include <string>

#include "backend/backend.h"
#include "model/weight_plan.h"
#include "search/sensitivity.h"

namespace kvpareto {

// "w4g128" as --weights takes it. Throws Error (kUsage) if it says more than bits and group, or keeps 16.
WeightFormat parse_probe_format(const std::string& text);

WeightScheme probe_weights(const WeightFormat& format, LinearKind kind, int layer);

// The format everywhere, but smaller groups or 8 bits where that saves most of the measured loss while all weights
// together (embedding and head as the model has them) grow by no more than `share`. Losses of single linears add up,
// nearly; what 8 bits lose counts as nothing.
WeightScheme suggested_weights(const Sensitivity& table, const WeightFormat& format, const Checkpoint& checkpoint,
                               const ModelShape& shape, const Backend& backend, double share);

}  // namespace kvpareto
