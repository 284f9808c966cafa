#pragma once
// Values as people write them on a command line. Every function throws Error (kUsage) that begins with `option` and
// says what would have been right.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

// The whole numbers that an option takes, both ends included.
struct Range {
  int64_t low, high;
};

int64_t parse_integer(std::string_view option, std::string_view text, Range range);
double parse_number(std::string_view option, std::string_view text, double low, double high);

// "512,4096", "1024-4096+1024" (first-last+step) or a mixture, in the order given, each once.
std::vector<int> parse_integers(std::string_view option, std::string_view text, Range range);

// "a,b,c"; an empty place is an error.
std::vector<std::string> parse_list(std::string_view option, std::string_view text);

// The choice itself. The error names the nearest one, and all of them.
std::string parse_choice(std::string_view option, std::string_view text, const std::vector<std::string>& choices);

// "4.5m", "90s", "1h", or plain seconds; above 0.
double parse_seconds(std::string_view option, std::string_view text);

// "512MiB", "2G" (binary, as GiB), or plain bytes; above 0.
double parse_bytes(std::string_view option, std::string_view text);

// "1%" or "0.01" as a fraction above 0 and below 1.
double parse_percent(std::string_view option, std::string_view text);

}  // namespace kvpareto
