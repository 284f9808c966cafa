#pragma once
// How SentencePiece vocabularies (Kudo and Richardson 2018, arXiv 1808.06226) write text: U+2581 for a space, and
// tokens <0x00> to <0xFF> for the bytes of characters that no token has.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvpareto {

inline constexpr std::string_view kPieceSpace = "\xe2\x96\x81";

// "<0x0A>".
std::string byte_piece(uint8_t byte);
// The byte that such a token stands for; empty for other tokens.
std::optional<uint8_t> byte_of_piece(std::string_view token);
// The text that `token` writes.
std::string text_of_piece(std::string_view token);

}  // namespace kvpareto
