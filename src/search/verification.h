#pragma once
// The last word: what the best points lose on texts that no search has seen. The best of many looks better on the texts
// that chose it than it is (the winner's curse); what does not hold up leaves the front.

#include <span>
#include <string>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

// The figure that holds it: mean divergence on held-out texts, the same ones for every point.
inline const std::string kHeldOut = "kld_held_out";

// For every measurement why it did not hold up, empty if it did or was not verified: on the held-out texts it loses
// more than `max_loss` by more than its error, though it did not on the texts of the search; or another verified point
// that takes less memory loses less there by more than the paired error (kBeyondError).
std::vector<std::string> failed_verification(std::span<const Measurement> measurements, double max_loss);

// The same measurements, those that did not hold up marked as failed with the reason: no front has them.
std::vector<Measurement> verified(std::vector<Measurement> measurements, double max_loss);

}  // namespace kvpareto
