#pragma once
// The merges of a vocabulary: listed in its file, or worked out from SentencePiece's scores.

#include <string_view>
#include <unordered_map>

#include "text/merges.h"
#include "text/vocabulary.h"

namespace kvpareto {

using TokenIds = std::unordered_map<std::string_view, int32_t>;

// Throws Error (kFailure): a line that is no pair, a token that there is not.
Merges listed_merges(const Vocabulary& vocabulary, const TokenIds& ids);

// SentencePiece merges any two neighbours whose text together is a token, the highest score first (arXiv 1808.06226):
// every cut of every token into two tokens is a merge. Throws Error (kFailure): scores missing, no number, or a token
// too long.
Merges scored_merges(const Vocabulary& vocabulary, const TokenIds& ids);

}  // namespace kvpareto
