#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace kvpareto {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& where, int most_depth) {
  std::vector<std::unordered_set<std::string>> names;  // of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool begins = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (begins && depth >= most_depth) fail("{}: JSON nested deeper than {} levels", where, most_depth);
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) {
      fail("{}: the name {} stands twice in one JSON object", where, quoted_name(parsed.get_ref<const std::string&>()));
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    fail("{}: no valid JSON at byte {} of {}", where, error.byte, text.size());
  } catch (const json::exception&) {
    fail("{}: JSON with a number out of range", where);
  }
}

std::string quoted_name(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string result = "\"";
  for (const char c : text.substr(0, kLongest)) {
    const bool printable = static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f;
    result += printable ? c : '?';
  }
  return result + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace kvpareto
