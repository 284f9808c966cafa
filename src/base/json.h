#pragma once
// JSON of files that anyone may have written: bounded in depth, no name twice in an object, errors of one line.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace kvpareto {

// Throws Error (kFailure) beginning with `where`: not JSON (the byte is named), nested deeper than `most_depth` objects
// and arrays, a name twice in one object, text that is not UTF-8.
nlohmann::json parse_json(std::string_view text, const std::string& where, int most_depth = 32);

// What a message shows of text from a file: quoted, short, on one line, other than ASCII as ?.
std::string quoted_name(std::string_view text);

}  // namespace kvpareto
