// "x | ...".
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

// "a.b": a member of a member.
Value attribute(Value value, std::string_view path, Work& work) {
  while (!path.empty()) {
    const size_t dot = std::min(path.find('.'), path.size());
    const std::string name(path.substr(0, dot));
    value = value.dict() ? item_of(value, name, work) : member_of(value, name, work);
    path.remove_prefix(std::min(path.size(), dot + 1));
  }
  return value;
}

// Of the filter "title": a word begins behind one of these. Python's own method begins one behind all but letters.
bool begins_word(std::string_view before) {
  return trim(before).empty() || std::string_view("-({[<").find(before) != std::string_view::npos;
}

std::string text_of(const Value& value, const Call& call) { return to_text(value, call.work); }

Value to_json_filter(const Value& value, const Call& call) {
  JsonStyle style;
  style.ascii = call.truth(0, "ensure_ascii", false);
  style.indent = static_cast<int>(std::clamp<int64_t>(call.integer(1, "indent", -1), -1, 16));
  style.sorted = call.truth(3, "sort_keys", false);
  if (const Value* between = call.find(2, "separators"); between != nullptr && !between->is_none()) {
    const List* pair = between->list();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].text() || !(*pair)[1].text())
      call.wrong("two separators", *between);
    style.between_items = *(*pair)[0].text();
    style.between_pair = *(*pair)[1].text();
  }
  return to_json(value, style, call.work);
}

Value join(const Value& value, const Call& call) {
  const std::string between = call.text(0, "d", ""), path = call.text(1, "attribute", "");
  std::string out;
  bool first = true;
  for (const Value& item : elements(value, call.work)) {
    if (!std::exchange(first, false)) out += between;
    out += text_of(attribute(item, path, call.work), call);
    call.work.spend(static_cast<int64_t>(between.size()));
  }
  return out;
}

Value fallback(const Value& value, const Call& call) {
  const bool missing = value.undefined() != nullptr || (call.truth(1, "boolean", false) && !value.truth());
  if (!missing) return value;
  const Value* given = call.find(0, "default_value");
  return given ? *given : Value("");
}

Value replace(const Value& value, const Call& call) {
  const Value text(text_of(value, call));
  return find_method(text, "replace")(text, call);
}

Value trim_filter(const Value& value, const Call& call) {
  const Value text(text_of(value, call));
  return find_method(text, "strip")(text, call);
}

Value indent(const Value& value, const Call& call) {
  const Value* width = call.find(0, "width");
  const int64_t count = width && width->integer() ? std::clamp<int64_t>(*width->integer(), 0, 1000) : 4;
  const std::string blanks = width && width->text() ? *width->text() : std::string(static_cast<size_t>(count), ' ');
  const bool first = call.truth(1, "first", false), empty_too = call.truth(2, "blank", false);
  const std::string text = text_of(value, call);
  std::string out;
  for (size_t begin = 0, line = 0;; ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if ((line > 0 || first) && (line == 0 || empty_too || end > begin)) out += blanks;
    out.append(text, begin, end - begin);
    call.work.spend(static_cast<int64_t>(blanks.size() + end - begin));
    if (end == text.size()) return out;
    out += '\n';
    begin = end + 1;
  }
}

Value to_integer(const Value& value, const Call& call) {
  if (value.real())
    return std::isfinite(*value.real()) && std::abs(*value.real()) < 9e18 ? Value(static_cast<int64_t>(*value.real()))
                                                                          : Value(0);
  if (value.boolean()) return int64_t{*value.boolean()};
  if (value.integer()) return value;
  int64_t number = 0;
  const std::string text(value.text() ? trim(*value.text()) : "");
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem == std::errc() && end == text.data() + text.size() && !text.empty()) return number;
  double real = 0;
  const auto [real_end, real_problem] = std::from_chars(text.data(), text.data() + text.size(), real);
  if (real_problem == std::errc() && real_end == text.data() + text.size() && !text.empty() && std::abs(real) < 9e18)
    return static_cast<int64_t>(real);
  return call.integer(0, "default", 0);
}

Value to_real(const Value& value, const Call&) {
  if (value.real()) return value;
  if (value.boolean()) return *value.boolean() ? 1.0 : 0.0;
  if (value.integer()) return static_cast<double>(*value.integer());
  const std::string text(value.text() ? trim(*value.text()) : "");
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc() && end == text.data() + text.size() && !text.empty() ? number : 0.0;
}

Value absolute(const Value& value, const Call& call) {
  if (value.integer())
    return *value.integer() < 0 ? Value(static_cast<int64_t>(-static_cast<uint64_t>(*value.integer()))) : value;
  if (!value.real()) call.wrong("a number", value);
  return std::abs(*value.real());
}

Value rounded(const Value& value, const Call& call) {
  const int64_t digits = std::clamp<int64_t>(call.integer(0, "precision", 0), 0, 15);
  const std::string method = call.text(1, "method", "common");
  const Value number = to_real(value, call);
  const double scale = std::pow(10.0, static_cast<double>(digits)), scaled = *number.real() * scale;
  if (method == "ceil") return std::ceil(scaled) / scale;
  if (method == "floor") return std::floor(scaled) / scale;
  return std::nearbyint(scaled) / scale;
}

// Of "select" and its like: those elements for which a test (their truth if none is named) answers `wanted`.
Value selected(const Value& value, const Call& call, bool by_attribute, bool wanted) {
  const size_t skip = by_attribute ? 1 : 0;
  const std::string path = by_attribute ? call.text(0, "attribute", "") : "";
  const std::string name = call.text(skip, "test", "");
  const TestFunction test = name.empty() ? nullptr : find_test(name);
  Arguments rest;
  if (call.arguments.positional.size() > skip + 1) {
    rest.positional.assign(call.arguments.positional.begin() + static_cast<ptrdiff_t>(skip) + 1,
                           call.arguments.positional.end());
  }
  List kept;
  for (const Value& item : elements(value, call.work)) {
    const Value tested = attribute(item, path, call.work);
    const bool holds = test != nullptr ? test(tested, Call{call.work, rest, name}) : tested.truth();
    if (holds == wanted) kept.push_back(item);
  }
  return kept;
}

Value map(const Value& value, const Call& call) {
  List mapped;
  if (const Value* path = call.arguments.positional.empty() ? call.find(0, "attribute") : nullptr) {
    const Value* otherwise = call.find(1, "default");
    for (const Value& item : elements(value, call.work)) {
      const Value found = path->text() ? attribute(item, *path->text(), call.work) : item_of(item, *path, call.work);
      mapped.push_back(found.undefined() && otherwise ? *otherwise : found);
    }
    return mapped;
  }
  const std::string name = call.text(0, "filter", "");
  const FilterFunction filter = find_filter(name);
  Arguments rest;
  rest.positional.assign(call.arguments.positional.begin() + 1, call.arguments.positional.end());
  rest.named = call.arguments.named;
  for (const Value& item : elements(value, call.work)) mapped.push_back(filter(item, Call{call.work, rest, name}));
  return mapped;
}

// Strings without regard to case, unless asked.
Value sorted(const Value& value, const Call& call) {
  const bool reverse = call.truth(0, "reverse", false), exact = call.truth(1, "case_sensitive", false);
  const std::string path = call.text(2, "attribute", "");
  List items = elements(value, call.work);
  const auto key = [&](const Value& item) {
    const Value found = attribute(item, path, call.work);
    return found.text() && !exact ? Value(lower_case(*found.text())) : found;
  };
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) keyed.emplace_back(key(item), item);
  call.work.spend(static_cast<int64_t>(items.size()) * 20);
  // Values without an order are found before the algorithm relies on it.
  for (size_t i = 1; i < keyed.size(); ++i) order(keyed[0].first, keyed[i].first);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? order(a.first, b.first) > 0 : order(a.first, b.first) < 0;
  });
  for (size_t i = 0; i < items.size(); ++i) items[i] = keyed[i].second;
  return items;
}

Value dict_sorted(const Value& value, const Call& call) {
  if (!value.dict()) call.wrong("a dict", value);
  const bool by_value = call.text(1, "by", "key") == "value";
  const Value pairs = find_method(value, "items")(value, Call{call.work, {}, "items"});
  List items = *pairs.list();
  const bool exact = call.truth(0, "case_sensitive", false), reverse = call.truth(2, "reverse", false);
  const auto key = [&](const Value& pair) {
    const Value& found = (*pair.list())[by_value ? 1 : 0];
    return found.text() && !exact ? Value(lower_case(*found.text())) : found;
  };
  for (size_t i = 1; i < items.size(); ++i) order(key(items[0]), key(items[i]));
  call.work.spend(static_cast<int64_t>(items.size()) * 20);
  std::stable_sort(items.begin(), items.end(), [&](const Value& a, const Value& b) {
    return reverse ? order(key(a), key(b)) > 0 : order(key(a), key(b)) < 0;
  });
  return items;
}

Value unique(const Value& value, const Call& call) {
  List kept;
  for (const Value& item : elements(value, call.work)) {
    const auto same = [&](const Value& other) {
      if (item.text() && other.text()) return lower_case(*item.text()) == lower_case(*other.text());
      return equal(item, other, call.work);
    };
    call.work.spend(static_cast<int64_t>(kept.size()));
    if (std::ranges::none_of(kept, same)) kept.push_back(item);
  }
  return kept;
}

Value extreme(const Value& value, const Call& call, int sign) {
  const List items = elements(value, call.work);
  if (items.empty()) return Value(Undefined{"element"});
  return *std::max_element(items.begin(), items.end(),
                           [&](const Value& a, const Value& b) { return sign * order(a, b) < 0; });
}

Value sum(const Value& value, const Call& call) {
  double real = 0;
  int64_t whole = 0;
  bool is_real = false;
  for (const Value& item : elements(value, call.work)) {
    if (!item.is_number()) call.wrong("numbers", item);
    is_real |= item.real() != nullptr;
    real += *to_real(item, call).real();
    if (!item.real())
      whole = static_cast<int64_t>(static_cast<uint64_t>(whole) +
                                   static_cast<uint64_t>(item.integer() ? *item.integer() : *item.boolean()));
  }
  return is_real ? Value(real) : Value(whole);
}

Value reversed(const Value& value, const Call& call) {
  List items = elements(value, call.work);
  std::ranges::reverse(items);
  if (!value.text()) return items;
  std::string text;
  for (const Value& item : items) text += *item.text();
  return text;
}

Value end_of(const Value& value, const Call& call, bool last) {
  const List items = elements(value, call.work);
  return items.empty() ? Value(Undefined{"element"}) : last ? items.back() : items.front();
}

Value escaped(const Value& value, const Call& call) {
  std::string out;
  for (const char c : text_of(value, call)) {
    constexpr std::string_view kSpecial = "&<>\"'";
    constexpr std::string_view kNames[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    const size_t at = kSpecial.find(c);
    at == kSpecial.npos ? void(out += c) : void(out += kNames[at]);
  }
  return out;
}

struct Row {
  std::string_view name;
  FilterFunction filter;
};
constexpr Row kFilters[] = {
    {"trim", trim_filter},
    {"tojson", to_json_filter},
    {"length", [](const Value& v, const Call& c) { return Value(length_of(v, c.work)); }},
    {"count", [](const Value& v, const Call& c) { return Value(length_of(v, c.work)); }},
    {"upper", [](const Value& v, const Call& c) { return Value(upper_case(text_of(v, c))); }},
    {"lower", [](const Value& v, const Call& c) { return Value(lower_case(text_of(v, c))); }},
    {"title", [](const Value& v, const Call& c) { return Value(title_case(text_of(v, c), begins_word)); }},
    {"capitalize", [](const Value& v, const Call& c) { return Value(title_case(text_of(v, c), nullptr)); }},
    {"join", join},
    {"first", [](const Value& v, const Call& c) { return end_of(v, c, false); }},
    {"last", [](const Value& v, const Call& c) { return end_of(v, c, true); }},
    {"default", fallback},
    {"d", fallback},
    {"string", [](const Value& v, const Call& c) { return Value(text_of(v, c)); }},
    {"safe", [](const Value& v, const Call&) { return v; }},
    {"int", to_integer},
    {"float", to_real},
    {"abs", absolute},
    {"round", rounded},
    {"list", [](const Value& v, const Call& c) { return Value(elements(v, c.work)); }},
    {"items",
     [](const Value& v, const Call& c) {
       if (v.undefined()) return Value(List{});
       if (!v.dict()) c.wrong("a dict", v);
       return find_method(v, "items")(v, c);
     }},
    {"replace", replace},
    {"indent", indent},
    {"escape", escaped},
    {"e", escaped},
    {"select", [](const Value& v, const Call& c) { return selected(v, c, false, true); }},
    {"reject", [](const Value& v, const Call& c) { return selected(v, c, false, false); }},
    {"selectattr", [](const Value& v, const Call& c) { return selected(v, c, true, true); }},
    {"rejectattr", [](const Value& v, const Call& c) { return selected(v, c, true, false); }},
    {"map", map},
    {"sort", sorted},
    {"dictsort", dict_sorted},
    {"unique", unique},
    {"reverse", reversed},
    {"sum", sum},
    {"min", [](const Value& v, const Call& c) { return extreme(v, c, -1); }},
    {"max", [](const Value& v, const Call& c) { return extreme(v, c, 1); }},
};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &Row::name);
  if (found != std::end(kFilters)) return found->filter;
  fail("the chat template uses the filter '{}', which is not supported", shown(name));
}

}  // namespace kvpareto::jinja
