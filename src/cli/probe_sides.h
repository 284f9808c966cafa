#pragma once
// The schemes of a sensitivity run: one side of one layer packed; and the scheme that its result suggests.

#include <string>

#include "kv/scheme.h"
#include "search/sensitivity.h"

namespace kvpareto {

// One side as it is tried in a layer.
struct ProbeSide {
  bool keys;
  SideScheme scheme;
};

// "k4t32.pre" by the grammar of an override; `letter` is the side that it must be of. Throws Error (kUsage) that begins
// with `option`.
ProbeSide parse_probe_side(const std::string& option, char letter, const std::string& text);

// 16 bits everywhere but in that side of that layer.
KvScheme probe_scheme(const ProbeSide& side, int layer);

// The `rank`-th side of keys and of values (0: most bits) in every layer but those that stand out and cause more than
// kWorthBits of the whole loss: they have the side before it, or 8 bits. A side that was not tried has 16 bits.
inline constexpr double kWorthBits = 0.03;
KvScheme suggested_scheme(const Sensitivity& table, size_t rank);

}  // namespace kvpareto
