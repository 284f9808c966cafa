#pragma once
// Small things said to people: sizes, durations, the nearest valid choice.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// "269.1 MiB": three or four significant digits, binary units.
std::string human_bytes(double bytes);

// "3:07" or "1:02:03".
std::string human_seconds(double seconds);

// The choice with the fewest edits to `word` (Levenshtein), of those that begin with it if there are any; empty if
// there are no choices.
std::string nearest(std::string_view word, std::span<const std::string> choices);

// Digits taken off the front of `text`, as a number; none, and nothing is taken, if there are none or too many for an
// int.
std::optional<int> take_number(std::string_view& text);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);

// A field of comma-separated values (RFC 4180): in quotes if it holds a separator, with those it holds doubled.
std::string csv_cell(std::string_view text);

}  // namespace kvpareto
