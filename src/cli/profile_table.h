#pragma once
// Where the time of a run went, for people.

#include <optional>
#include <string>
#include <vector>

#include "backend/profiled_backend.h"

namespace kvpareto {

// Adds what was timed in one more run.
void add_parts(std::vector<ProfilePart>& sum, const std::vector<ProfilePart>& more);

// A row a part, most time first: its share of `seconds`, what the run took, calls, GFLOP/s and GB/s, and the larger of
// its shares of the limits (arithmetic: of bf16 products; memory: of what is read). Time between operations has a row
// of its own.
std::string profile_table(std::vector<ProfilePart> parts, double seconds, const std::optional<MachineLimits>& limits);

}  // namespace kvpareto
