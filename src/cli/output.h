#pragma once
// What the program says: results on standard output, everything else on standard error.

#include <fmt/format.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// Writes a result at once. A reader that went away (a closed pipe) ends the program quietly: throws Error (kOk) without
// a message; a full disk throws Error (kFailure).
void print_result(std::string_view text);

// One line for the person, on standard error: "kvpareto: ...".
template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "kvpareto: {}\n", fmt::format(format, std::forward<Args>(args)...));
}

// Rows of one shape, keys in order, as "md" (aligned), "csv", "json" (an array; a single row alone if `unwrap_single`)
// or "jsonl".
std::string rows_text(const std::vector<nlohmann::ordered_json>& rows, const std::string& format,
                      bool unwrap_single = false);

// A table for people: aligned columns that are Markdown as well. The first row is the header; columns that hold numbers
// alone are aligned right.
std::string markdown(const std::vector<std::vector<std::string>>& rows);

// How many bytes of `text` are whole UTF-8 characters, counting bytes that can never become one: the rest waits for the
// tokens that complete it.
size_t complete_utf8(std::string_view text);

}  // namespace kvpareto
