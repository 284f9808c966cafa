#pragma once
// The 256 printable characters by which GPT-2 vocabularies write bytes (Radford et al. 2019, encoder.py): printable
// Latin-1 stands for itself, the other 68 bytes are U+0100 onwards in order. So a space is "Ġ" (U+0120) and no token
// holds a space.

#include <cstdint>
#include <string>
#include <string_view>

namespace kvpareto {

// The character of `byte`, in UTF-8.
const std::string& byte_character(uint8_t byte);

// The bytes that `token` writes. A token with any character outside the alphabet stands for its own UTF-8.
std::string bytes_of_token(std::string_view token);

}  // namespace kvpareto
