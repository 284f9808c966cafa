#include "cli/values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

// A value whose every character is part of the number; none if it is something else. Numbers too large for 64 bits
// become the largest, which no range contains.
std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || problem == std::errc::invalid_argument) return std::nullopt;
  if (problem == std::errc::result_out_of_range) return text.front() == '-' ? INT64_MIN : INT64_MAX;
  return value;
}

std::optional<double> real_number(std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

struct Unit {
  std::string_view name;
  double size;
};

// A number above 0 with one of the units behind it, or none, which is the first unit.
std::optional<double> with_unit(std::string_view text, std::initializer_list<Unit> units) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto value = real_number(text.substr(0, digits));
  const std::string_view suffix = text.substr(digits);
  const auto unit = suffix.empty()
                        ? units.begin()
                        : std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == suffix; });
  if (!value || *value <= 0 || unit == units.end()) return std::nullopt;
  return *value * unit->size;
}

// Enough for every sweep a person would wait for, and little enough to refuse a slip such as 1-1000000.
constexpr size_t kMostValues = 1000;

}  // namespace

int64_t parse_integer(std::string_view option, std::string_view text, Range range) {
  const auto value = whole_number(text);
  if (!value || *value < range.low || *value > range.high) {
    fail_usage("{} takes a whole number from {} to {}, not '{}'", option, range.low, range.high, text);
  }
  return *value;
}

double parse_number(std::string_view option, std::string_view text, double low, double high) {
  const auto value = real_number(text);
  if (!value || *value < low || *value > high) {
    fail_usage("{} takes a number from {} to {}, not '{}'", option, low, high, text);
  }
  return *value;
}

std::vector<int> parse_integers(std::string_view option, std::string_view text, Range range) {
  std::vector<int> values;
  for (const std::string& part : parse_list(option, text)) {
    const size_t dash = part.find('-', 1), plus = part.find('+', dash == std::string::npos ? 0 : dash);
    if (dash == std::string::npos) {
      values.push_back(static_cast<int>(parse_integer(option, part, range)));
      continue;
    }
    if (plus == std::string::npos) {
      fail_usage("{}: a range is first-last+step, such as 1024-4096+1024, not '{}'", option, part);
    }
    const int64_t first = parse_integer(option, part.substr(0, dash), range);
    const int64_t last = parse_integer(option, part.substr(dash + 1, plus - dash - 1), range);
    const int64_t step = parse_integer(option, part.substr(plus + 1), {1, INT32_MAX});
    if (last < first) fail_usage("{}: the range '{}' ends before it begins", option, part);
    if (static_cast<size_t>((last - first) / step) >= kMostValues) {
      fail_usage("{}: the range '{}' has more than {} values", option, part, kMostValues);
    }
    for (int64_t value = first; value <= last; value += step) values.push_back(static_cast<int>(value));
  }
  std::vector<int> once;
  for (const int value : values) {
    if (std::find(once.begin(), once.end(), value) == once.end()) once.push_back(value);
  }
  return once;
}

std::vector<std::string> parse_list(std::string_view option, std::string_view text) {
  std::vector<std::string> parts = split(text, ',');
  for (const std::string& part : parts) {
    if (part.empty()) fail_usage("{}: '{}' has an empty place between its commas", option, text);
  }
  return parts;
}

std::string parse_choice(std::string_view option, std::string_view text, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return std::string(text);
  fail_usage("{} takes one of {}, not '{}'; did you mean '{}'?", option, join(choices, ", "), text,
             nearest(text, choices));
}

double parse_seconds(std::string_view option, std::string_view text) {
  const auto seconds = with_unit(text, {{"s", 1}, {"m", 60}, {"h", 3600}});
  if (!seconds) fail_usage("{} takes a time such as 90s, 4.5m or 1h, not '{}'", option, text);
  return *seconds;
}

double parse_bytes(std::string_view option, std::string_view text) {
  const auto bytes = with_unit(text, {{"B", 1},
                                      {"K", 0x1p10},
                                      {"KiB", 0x1p10},
                                      {"M", 0x1p20},
                                      {"MiB", 0x1p20},
                                      {"G", 0x1p30},
                                      {"GiB", 0x1p30},
                                      {"T", 0x1p40},
                                      {"TiB", 0x1p40}});
  if (!bytes) fail_usage("{} takes a size such as 512MiB or 8GiB, not '{}'", option, text);
  return *bytes;
}

double parse_percent(std::string_view option, std::string_view text) {
  const auto fraction = with_unit(text, {{"", 1}, {"%", 0.01}});
  if (!fraction || *fraction >= 1) fail_usage("{} takes a part such as 1% or 0.01, not '{}'", option, text);
  return *fraction;
}

}  // namespace kvpareto
