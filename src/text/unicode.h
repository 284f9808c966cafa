#pragma once
// The little Unicode that tokenizers need, over bytes that need not be valid UTF-8.

#include <string>
#include <string_view>

namespace kvpareto {

// How many bytes at the beginning of `text` are valid UTF-8 (no surrogates, no overlong forms) / belong to no valid
// character.
size_t valid_prefix(std::string_view text);
size_t invalid_prefix(std::string_view text);

// Normalization form C of the valid stretches (Unicode Standard Annex 15); invalid bytes stay as they are.
std::string compose(std::string_view text);

// Without the white space around it, by Python's str.strip(), which is what `trim` of a chat template does.
std::string_view trim(std::string_view text);

// For messages: on one line, control characters and invalid bytes as \xNN, cut off after about 60 bytes.
std::string shown(std::string_view text);

}  // namespace kvpareto
