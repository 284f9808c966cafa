#include "study/point.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace kvpareto {
namespace {
constexpr std::string_view kChunk = "_chunk";

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// Digits without sign or leading zero, so that equal points have equal text; 0 if they are anything else.
int positive_number(std::string_view digits) {
  int number = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = problem == std::errc() && end == digits.data() + digits.size();
  return whole && digits.front() >= '1' && digits.front() <= '9' ? number : 0;
}

// What of a user's text is worth repeating in one line.
std::string quoted(std::string_view text) {
  std::string shown(text.substr(0, 80));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return fmt::format("'{}{}'", shown, text.size() > 80 ? "..." : "");
}
}  // namespace

std::string to_text(const Point& point) {
  return fmt::format("{}_{}{}{}", point.weights, point.kv, kChunk, point.chunk);
}

Point parse_point(std::string_view text) {
  const auto wrong = [&](std::string_view what) {
    fail_usage("{}: wanted a point such as {}, {}", quoted(text), to_text({}), what);
  };
  if (!printable(text)) wrong("found a space or a character that is not printable");
  const size_t chunk = text.rfind(kChunk);
  if (chunk == std::string_view::npos) wrong("found no _chunk at its end");
  const std::string_view schemes = text.substr(0, chunk);
  const size_t underscore = schemes.find('_');
  if (underscore == std::string_view::npos) wrong("found no _ between the weights and the KV scheme");
  Point point{std::string(schemes.substr(0, underscore)), std::string(schemes.substr(underscore + 1)),
              positive_number(text.substr(chunk + kChunk.size()))};
  if (point.weights.empty()) wrong("found no weights before the first _");
  if (point.kv.empty()) wrong("found no KV scheme between weights and chunk");
  if (point.chunk == 0) wrong("found a chunk that is not a positive number of tokens");
  return point;
}

}  // namespace kvpareto
