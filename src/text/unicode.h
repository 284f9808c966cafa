#pragma once
// The little Unicode that tokenizers need, over bytes that need not be valid UTF-8.

#include <cstdint>
#include <string>
#include <string_view>

namespace kvpareto {

// Bytes of the valid character at the beginning of `text`, 0 if there is none.
size_t character_size(std::string_view text);

// How many bytes at the beginning of `text` are valid UTF-8 (no surrogates, no overlong forms) / belong to no valid
// character.
size_t valid_prefix(std::string_view text);
size_t invalid_prefix(std::string_view text);

// Normalization form C of the valid stretches (Unicode Standard Annex 15); invalid bytes stay as they are.
std::string compose(std::string_view text);

// Without the white space around it, by Python's str.strip(), which is what `trim` of a chat template does.
std::string_view trim(std::string_view text);

// Bytes of the white space (Unicode's property White_Space) that `text` begins / ends with.
size_t white_space_at_start(std::string_view text);
size_t white_space_at_end(std::string_view text);

// Whether it begins / ends with a character of a word, as \w of a Unicode regular expression has it (Unicode Technical
// Standard 18, annex C).
bool starts_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

// The code point of a valid character.
int32_t code_point(std::string_view character);
// Empty if there is no such character.
std::string encode_utf8(uint32_t code_point);

// Character by character, so "ß" stays in upper_case().
std::string upper_case(std::string_view text);
std::string lower_case(std::string_view text);
// The first character in upper case, and every one behind a character for which `begins` holds (if it is not null); the
// others in lower case.
std::string title_case(std::string_view text, bool (*begins)(std::string_view before));

// For messages: on one line, control characters and invalid bytes as \xNN, cut off after about `longest` bytes.
std::string shown(std::string_view text, size_t longest = 60);

}  // namespace kvpareto
