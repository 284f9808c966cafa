#include "text/byte_alphabet.h"

#include <array>

namespace kvpareto {

namespace {

// All characters of the alphabet lie below U+0144, so one or two bytes of UTF-8 hold each.
constexpr int kCharacters = 0x144;

struct Alphabet {
  std::array<std::string, 256> character;
  std::array<int, kCharacters> byte;  // -1: not in the alphabet
};

std::string utf8(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
    const int code_point = printable ? byte : next++;
    alphabet.character[byte] = utf8(code_point);
    alphabet.byte[code_point] = byte;
  }
  return alphabet;
}

const Alphabet& alphabet() {
  static const Alphabet made = make_alphabet();
  return made;
}

// The byte whose character begins at `position`, which moves behind it; -1 if there is none.
int next_byte(std::string_view token, size_t& position) {
  const auto first = static_cast<uint8_t>(token[position++]);
  if (first < 0x80) return alphabet().byte[first];
  if ((first & 0xE0) != 0xC0 || position == token.size()) return -1;
  const auto second = static_cast<uint8_t>(token[position++]);
  const int code_point = (first & 0x1F) << 6 | (second & 0x3F);
  if ((second & 0xC0) != 0x80 || code_point < 0x80 || code_point >= kCharacters) return -1;
  return alphabet().byte[code_point];
}

}  // namespace

const std::string& byte_character(uint8_t byte) { return alphabet().character[byte]; }

std::string bytes_of_token(std::string_view token) {
  std::string bytes;
  for (size_t position = 0; position < token.size();) {
    const int byte = next_byte(token, position);
    if (byte < 0) return std::string(token);
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

}  // namespace kvpareto
