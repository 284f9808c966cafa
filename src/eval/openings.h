#pragma once
// How texts of many kinds begin.

#include <span>

namespace kvpareto {

// Some forty beginnings of a few sentences each: a good third encyclopaedic, the rest news, fiction, letters, science,
// law, recipes, sums, source code, mark-up, other languages. What a model samples from nothing is mostly what it saw
// most of, which for a model of code is code; continued from these, its text touches the channels that its readers'
// texts will. After half a sentence a model tuned for chats goes on with questions about it; after a few it keeps the
// kind.
std::span<const char* const> openings();

}  // namespace kvpareto
