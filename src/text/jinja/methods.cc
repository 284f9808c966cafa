// Python's methods of strings, dicts and lists.
#include <algorithm>
#include <span>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

const std::string& self(const Value& object) { return *object.text(); }

// Without the characters of the argument (white space if there is none) at the ends.
std::string_view stripped(const Value& object, const Call& call, bool left, bool right) {
  const Value* given = call.find(0, "chars");
  std::string_view text = self(object);
  if (given == nullptr || given->is_none()) {
    const std::string_view whole = trim(text);
    if (whole.empty()) return whole;
    const size_t begin = left ? static_cast<size_t>(whole.data() - text.data()) : 0;
    const size_t end = right ? static_cast<size_t>(whole.data() - text.data()) + whole.size() : text.size();
    return text.substr(begin, end - begin);
  }
  if (given->text() == nullptr) call.wrong("a string", *given);
  const std::vector<std::string_view> taken = characters(*given->text());
  const auto is_taken = [&](std::string_view character) { return std::ranges::find(taken, character) != taken.end(); };
  std::vector<std::string_view> all = characters(text);
  call.work.spend(static_cast<int64_t>(all.size() * (1 + taken.size())));
  size_t begin = 0, end = all.size();
  while (left && begin < end && is_taken(all[begin])) ++begin;
  while (right && end > begin && is_taken(all[end - 1])) --end;
  if (begin == end) return {};
  const size_t first = static_cast<size_t>(all[begin].data() - text.data());
  return text.substr(first, static_cast<size_t>(all[end - 1].data() - text.data()) + all[end - 1].size() - first);
}

// Words between stretches of white space; after `most` cuts (-1: no limit) the rest is one.
List split_words(std::string_view text, int64_t most, Work& work) {
  List parts;
  const std::vector<std::string_view> all = characters(text);
  work.spend(static_cast<int64_t>(text.size()));
  size_t i = 0;
  const auto skip = [&](bool space) {
    while (i < all.size() && trim(all[i]).empty() == space) ++i;
  };
  for (skip(true); i < all.size(); skip(true)) {
    const size_t begin = i;
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(
          std::string_view(all[begin].data(), static_cast<size_t>(text.data() + text.size() - all[begin].data())));
      break;
    }
    skip(false);
    const char* end = i < all.size() ? all[i].data() : text.data() + text.size();
    parts.emplace_back(std::string_view(all[begin].data(), static_cast<size_t>(end - all[begin].data())));
  }
  return parts;
}

Value split(const Value& object, const Call& call) {
  const std::string_view text = self(object);
  const int64_t most = call.integer(1, "maxsplit", -1);
  const Value* separator = call.find(0, "sep");
  if (separator == nullptr || separator->is_none()) return split_words(text, most, call.work);
  const std::string sep = call.text(0, "sep", "");
  if (sep.empty()) fail("the chat template splits by an empty string");
  call.work.spend(static_cast<int64_t>(text.size()));
  List parts;
  size_t begin = 0;
  for (size_t end;
       (end = text.find(sep, begin)) != text.npos && (most < 0 || static_cast<int64_t>(parts.size()) < most);
       begin = end + sep.size()) {
    parts.emplace_back(text.substr(begin, end - begin));
  }
  parts.emplace_back(text.substr(begin));
  return parts;
}

Value rsplit(const Value& object, const Call& call) {
  const int64_t most = call.integer(1, "maxsplit", -1);
  const std::string sep = call.text(0, "sep", "");
  if (most < 0) return split(object, call);
  if (sep.empty()) fail("the chat template calls rsplit without a separator, which is not supported");
  std::string_view text = self(object);
  call.work.spend(static_cast<int64_t>(text.size()));
  List parts;
  for (size_t at; (at = text.rfind(sep)) != text.npos && static_cast<int64_t>(parts.size()) < most;
       text = text.substr(0, at)) {
    parts.emplace_back(text.substr(at + sep.size()));
  }
  parts.emplace_back(text);
  std::ranges::reverse(parts);
  return parts;
}

Value splitlines(const Value& object, const Call& call) {
  call.at_most(0);
  std::string_view text = self(object);
  call.work.spend(static_cast<int64_t>(text.size()));
  List lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + (text.substr(end).starts_with("\r\n") ? 2 : 1)));
  }
  return lines;
}

// One string or several.
bool any_of(const Call& call, bool (*matches)(std::string_view text, std::string_view part), std::string_view text) {
  call.at_most(1);
  const Value& given = call.need(0, "prefix");
  const auto one = [&](const Value& part) {
    if (part.text() == nullptr) call.wrong("a string", part);
    return matches(text, *part.text());
  };
  return given.list() ? std::ranges::any_of(*given.list(), one) : one(given);
}

Value replace(const Value& object, const Call& call) {
  const std::string from = call.text(0, "old", ""), to = call.text(1, "new", "");
  int64_t left = call.integer(2, "count", -1);
  std::string_view text = self(object);
  std::string out;
  if (from.empty()) fail("the chat template replaces an empty string, which is not supported");
  for (size_t at; left != 0 && (at = text.find(from)) != text.npos; --left) {
    out.append(text.substr(0, at)).append(to);
    call.work.spend(static_cast<int64_t>(at + to.size()) + 1);
    text.remove_prefix(at + from.size());
  }
  call.work.spend(static_cast<int64_t>(text.size()));
  return out.append(text);
}

// In characters.
Value place(const Value& object, const Call& call, bool last) {
  call.at_most(1);
  const std::string& text = self(object);
  const std::string part = call.text(0, "sub", "");
  call.work.spend(static_cast<int64_t>(text.size()));
  const size_t at = last ? text.rfind(part) : text.find(part);
  return at == text.npos ? Value(-1)
                         : Value(static_cast<int64_t>(characters(std::string_view(text).substr(0, at)).size()));
}

Value count(const Value& object, const Call& call) {
  call.at_most(1);
  if (const List* list = object.list()) {
    return static_cast<int64_t>(
        std::ranges::count_if(*list, [&](const Value& item) { return equal(item, call.need(0, "value"), call.work); }));
  }
  const std::string part = call.text(0, "sub", "");
  if (part.empty()) fail("the chat template counts an empty string, which is not supported");
  int64_t found = 0;
  call.work.spend(static_cast<int64_t>(self(object).size()));
  for (size_t at = self(object).find(part); at != std::string::npos; at = self(object).find(part, at + part.size()))
    ++found;
  return found;
}

Value join(const Value& object, const Call& call) {
  std::string out;
  bool first = true;
  for (const Value& item : elements(call.need(0, "iterable"), call.work)) {
    if (item.text() == nullptr) call.wrong("strings", item);
    if (!std::exchange(first, false)) out += self(object);
    out += *item.text();
    call.work.spend(static_cast<int64_t>(item.text()->size() + self(object).size()));
  }
  return out;
}

bool all_characters(const Value& object, bool (*test)(std::string_view)) {
  const std::vector<std::string_view> all = characters(self(object));
  return !all.empty() && std::ranges::all_of(all, test);
}

Value index(const Value& object, const Call& call) {
  const auto found = std::ranges::find_if(
      *object.list(), [&](const Value& item) { return equal(item, call.need(0, "value"), call.work); });
  if (found == object.list()->end()) fail("the chat template asks for the place of something that is not in its list");
  return found - object.list()->begin();
}

Value items(const Value& object, const Call& call) {
  call.at_most(0);
  call.work.spend(static_cast<int64_t>(object.dict()->size()));
  List pairs;
  for (const auto& [name, value] : *object.dict()) pairs.emplace_back(List{name, value});
  return pairs;
}

struct Row {
  std::string_view name;
  MethodFunction method;
};
constexpr Row kOfStrings[] = {
    {"strip", [](const Value& o, const Call& c) { return Value(stripped(o, c, true, true)); }},
    {"lstrip", [](const Value& o, const Call& c) { return Value(stripped(o, c, true, false)); }},
    {"rstrip", [](const Value& o, const Call& c) { return Value(stripped(o, c, false, true)); }},
    {"split", split},
    {"rsplit", rsplit},
    {"splitlines", splitlines},
    {"replace", replace},
    {"join", join},
    {"count", count},
    {"find", [](const Value& o, const Call& c) { return place(o, c, false); }},
    {"rfind", [](const Value& o, const Call& c) { return place(o, c, true); }},
    {"startswith",
     [](const Value& o, const Call& c) {
       return Value(any_of(
           c, [](std::string_view t, std::string_view p) { return t.starts_with(p); }, self(o)));
     }},
    {"endswith",
     [](const Value& o, const Call& c) {
       return Value(any_of(
           c, [](std::string_view t, std::string_view p) { return t.ends_with(p); }, self(o)));
     }},
    {"removeprefix",
     [](const Value& o, const Call& c) {
       const std::string p = c.text(0, "prefix", "");
       return Value(self(o).starts_with(p) ? self(o).substr(p.size()) : self(o));
     }},
    {"removesuffix",
     [](const Value& o, const Call& c) {
       const std::string p = c.text(0, "suffix", "");
       return Value(self(o).ends_with(p) ? self(o).substr(0, self(o).size() - p.size()) : self(o));
     }},
    {"upper", [](const Value& o, const Call&) { return Value(upper_case(self(o))); }},
    {"lower", [](const Value& o, const Call&) { return Value(lower_case(self(o))); }},
    {"title",
     [](const Value& o, const Call&) {
       return Value(
           title_case(self(o), [](std::string_view before) { return lower_case(before) == upper_case(before); }));
     }},
    {"capitalize", [](const Value& o, const Call&) { return Value(title_case(self(o), nullptr)); }},
    {"isdigit",
     [](const Value& o, const Call&) {
       return Value(all_characters(o, [](std::string_view c) { return c.size() == 1 && c[0] >= '0' && c[0] <= '9'; }));
     }},
    {"isspace",
     [](const Value& o, const Call&) {
       return Value(all_characters(o, [](std::string_view c) { return trim(c).empty(); }));
     }},
};
constexpr Row kOfDicts[] = {
    {"items", items},
    {"keys", [](const Value& o, const Call& c) { return Value(elements(o, c.work)); }},
    {"values",
     [](const Value& o, const Call& c) {
       List all;
       c.work.spend(static_cast<int64_t>(o.dict()->size()));
       for (const auto& member : *o.dict()) all.push_back(member.second);
       return Value(std::move(all));
     }},
    {"get",
     [](const Value& o, const Call& c) {
       const Value& key = c.need(0, "key");
       const Value* found = key.text() ? o.find(*key.text()) : nullptr;
       const Value* fallback = c.find(1, "default");
       return found ? *found : fallback ? *fallback : Value(nullptr);
     }},
    {"copy", [](const Value& o, const Call&) { return o; }},
};
constexpr Row kOfLists[] = {
    {"index", index}, {"count", count}, {"copy", [](const Value& o, const Call&) { return o; }}};

// They change what they are called upon; jinja2's sandbox refuses them too.
constexpr std::string_view kListChanges[] = {"append", "extend", "insert", "pop", "remove", "reverse", "sort", "clear"};
constexpr std::string_view kDictChanges[] = {"pop", "clear", "update", "setdefault", "popitem"};
constexpr std::string_view kUnsupported[] = {
    "format",  "encode",  "zfill",   "center",   "ljust",    "rjust",     "partition", "rpartition", "isalpha",
    "isalnum", "isupper", "islower", "swapcase", "casefold", "translate", "index",     "expandtabs", "format_map"};

Value unsupported(const Value&, const Call& call) {
  fail("the chat template calls the method '{}', which is not supported", call.name);
}

}  // namespace

MethodFunction find_method(const Value& object, std::string_view name) {
  std::span<const Row> rows;
  if (object.text()) rows = kOfStrings;
  if (object.dict()) rows = kOfDicts;
  if (object.list()) rows = kOfLists;
  const auto found = std::ranges::find(rows, name, &Row::name);
  if (found != rows.end()) return found->method;
  std::span<const std::string_view> others;
  if (object.text()) others = kUnsupported;
  if (object.dict()) others = kDictChanges;
  if (object.list()) others = kListChanges;
  return std::ranges::find(others, name) != others.end() ? unsupported : nullptr;
}

}  // namespace kvpareto::jinja
