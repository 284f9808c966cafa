#pragma once
// Text for tests: words, all kinds of characters that pre-tokenizers tell apart, and bytes that are no text at all.

#include <array>
#include <string>
#include <string_view>

#include "base/random.h"

namespace kvpareto {

inline std::string random_text(uint64_t seed) {
  using namespace std::string_view_literals;
  static constexpr std::array kParts = {
      "a"sv,          "The"sv,    "'s"sv,      "'S"sv,     " "sv,           "  "sv,
      "\n"sv,         "\r\n"sv,   "\t"sv,      "1"sv,      "234"sv,         "\u00bd"sv,
      "\u0663"sv,     "\u00e9"sv, "e\u0301"sv, "\u0323"sv, "\u4e2d"sv,      "\u0e33"sv,
      "\ud55c"sv,     "\u1112"sv, "\u1161"sv,  "\u00a0"sv, "\u180e"sv,      "\u2028"sv,
      "\U0001f600"sv, "\u200d"sv, "!?"sv,      "<end>"sv,  "<tool_call>"sv, "<|im_end|>"sv,
      "\0"sv,         "\x7f"sv,   "\xff"sv,    "\xc3"sv,   "\xe4\xb8"sv,    "\xed\xa0\x80"sv};
  Random random(seed);
  std::string text;
  for (uint64_t parts = random.below(60); parts > 0; --parts) {
    text += random.below(8) == 0 ? std::string(1, static_cast<char>(random.below(256)))
                                 : kParts[random.below(kParts.size())];
  }
  return text;
}

}  // namespace kvpareto
