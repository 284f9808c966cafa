#pragma once
// Schemes worth knowing by name: one of every kind that the literature and other programs use, and the best that were
// measured here (docs/SCHEMES.md). `--kv all` means these; the cache's contract tests walk over them.

#include <span>
#include <string_view>
#include <vector>

#include "kv/scheme.h"

namespace kvpareto {

struct NamedScheme {
  std::string_view name;    // "kivi-4"
  std::string_view text;    // canonical
  std::string_view source;  // whose idea it is
};

// To add one: a line in catalogue.cc.
std::span<const NamedScheme> catalogue();

// Those that heads of this size can hold, in the order of the list.
std::vector<KvScheme> fitting_schemes(int layers, int head_dim, bool biased);

// A scheme by its text, or by its name in the catalogue. Throws Error (kUsage) as parse_scheme() does.
KvScheme find_scheme(std::string_view text);

}  // namespace kvpareto
