#include "text/piece_alphabet.h"

#include <fmt/format.h>

#include <charconv>

namespace kvpareto {

std::string byte_piece(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::optional<uint8_t> byte_of_piece(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, problem] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (problem != std::errc() || end != token.data() + 5) return std::nullopt;
  return byte;
}

std::string text_of_piece(std::string_view token) {
  if (const auto byte = byte_of_piece(token)) return std::string(1, static_cast<char>(*byte));
  std::string text;
  for (size_t i = 0; i < token.size();) {
    const bool space = token.substr(i).starts_with(kPieceSpace);
    text.push_back(space ? ' ' : token[i]);
    i += space ? kPieceSpace.size() : 1;
  }
  return text;
}

}  // namespace kvpareto
