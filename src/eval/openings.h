#pragma once
// How texts of many kinds begin.

#include <span>

namespace kvpareto {

// Some thirty beginnings, each of a kind of its own: encyclopaedia, news, fiction, letters, science, law, recipes,
// sums, source code, mark-up, other languages. What a model samples from nothing is mostly what it saw most of, which
// for a model of code is code; continued from these, its text touches the channels that its readers' texts will.
std::span<const char* const> openings();

}  // namespace kvpareto
