#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

int depth_of(const Value& value) {
  if (value.names() != nullptr)
    fail("the chat template puts a namespace into a list, dict or namespace, which is not supported");
  const int depth = value.depth() + 1;
  if (depth > Value::kMostDepth) fail("the chat template nests lists deeper than {} levels", Value::kMostDepth);
  return depth;
}

std::string quoted(const std::string& text) {
  const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + quote;
}

void put_utf16(uint32_t unit, std::string& out) { out += fmt::format("\\u{:04x}", unit); }

std::string json_string(const std::string& text, bool ascii) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t size = std::max<size_t>(character_size(std::string_view(text).substr(i)), 1);
    constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kEscaped = "\"\\nrtbf";
    if (const size_t at = kPlain.find(static_cast<char>(c)); at != kPlain.npos) {
      out += '\\';
      out += kEscaped[at];
    } else if (c < 0x20) {
      put_utf16(c, out);
    } else if (c < 0x80 || !ascii || size == 1) {
      out.append(text, i, size);
    } else if (const auto point = static_cast<uint32_t>(code_point(std::string_view(text).substr(i, size)));
               point < 0x10000) {
      put_utf16(point, out);
    } else {
      put_utf16(0xd800 + ((point - 0x10000) >> 10), out);
      put_utf16(0xdc00 + ((point - 0x10000) & 0x3ff), out);
    }
    i += size;
  }
  return out + "\"";
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Work& work) : style_(style), work_(work) {}

  std::string write(const Value& value, int level) {
    work_.spend(1);
    if (const std::string* text = value.text()) {
      work_.spend(static_cast<int64_t>(text->size()));
      return json_string(*text, style_.ascii);
    }
    if (const List* list = value.list()) {
      std::vector<std::string> parts;
      for (const Value& item : *list) parts.push_back(write(item, level + 1));
      return enclosed('[', parts, ']', level);
    }
    if (const Dict* dict = value.dict()) return write_dict(*dict, level);
    if (value.is_none()) return "null";
    if (const bool* truth = value.boolean()) return *truth ? "true" : "false";
    if (const double* number = value.real(); number != nullptr && !std::isfinite(*number)) {
      return std::isnan(*number) ? "NaN" : *number > 0 ? "Infinity" : "-Infinity";
    }
    if (value.is_number()) return to_text(value, work_);
    fail("the chat template writes {} as JSON", value.kind());
  }

 private:
  std::string write_dict(const Dict& dict, int level) {
    std::vector<const Dict::value_type*> order;
    for (const auto& member : dict) order.push_back(&member);
    if (style_.sorted) std::ranges::sort(order, {}, [](const auto* member) { return member->first; });
    std::vector<std::string> parts;
    for (const auto* member : order) {
      parts.push_back(json_string(member->first, style_.ascii) + style_.between_pair +
                      write(member->second, level + 1));
    }
    return enclosed('{', parts, '}', level);
  }

  std::string enclosed(char begin, const std::vector<std::string>& parts, char end, int level) {
    if (parts.empty()) return {begin, end};
    const bool lines = style_.indent >= 0;
    const auto line = [&](int at) {
      return lines ? "\n" + std::string(static_cast<size_t>(style_.indent * at), ' ') : "";
    };
    std::string between = style_.between_items;
    if (between.empty()) between = lines ? "," : ", ";
    std::string out(1, begin);
    for (size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? "" : between) + line(level + 1) + parts[i];
    out += line(level) + end;
    work_.spend(static_cast<int64_t>(out.size()));
    return out;
  }

  const JsonStyle& style_;
  Work& work_;
};

}  // namespace

Value::Value(List items) {
  for (const Value& item : items) depth_ = std::max(depth_, depth_of(item));
  data_ = std::make_shared<const List>(std::move(items));
}

Value::Value(Dict members) {
  for (const auto& member : members) depth_ = std::max(depth_, depth_of(member.second));
  data_ = std::make_shared<const Dict>(std::move(members));
}

int Value::depth() const { return depth_; }

bool Value::truth() const {
  if (const bool* truth = boolean()) return *truth;
  if (const int64_t* number = integer()) return *number != 0;
  if (const double* number = real()) return *number != 0;
  if (const std::string* string = text()) return !string->empty();
  if (const List* items = list()) return !items->empty();
  if (const Dict* members = dict()) return !members->empty();
  return function() != nullptr || names() != nullptr;
}

const Value* Value::find(std::string_view name) const {
  const Dict* members = dict();
  if (members == nullptr) return nullptr;
  const auto found = std::ranges::find(*members, name, &Dict::value_type::first);
  return found != members->end() ? &found->second : nullptr;
}

std::string Value::kind() const {
  if (const Undefined* missing = undefined())
    return missing->name.empty() ? "an undefined value" : fmt::format("'{}', which is undefined", shown(missing->name));
  if (is_none()) return "none";
  if (boolean()) return "a boolean";
  if (is_number()) return "a number";
  if (text()) return "a string";
  if (list()) return "a list";
  if (dict()) return "a dict";
  return function() ? "a function" : "a namespace";
}

void Work::spend(int64_t amount) {
  spent_ += amount;
  if (spent_ > kMost) fail("the chat template takes more than {} steps", kMost);
}

bool equal(const Value& a, const Value& b, Work& work) {
  work.spend(1);
  if (a.is_number() && b.is_number()) {
    const auto number = [](const Value& v) {
      return v.boolean() ? *v.boolean() : v.integer() ? static_cast<double>(*v.integer()) : *v.real();
    };
    if (a.integer() && b.integer()) return *a.integer() == *b.integer();
    return number(a) == number(b);
  }
  if (a.text() && b.text()) return *a.text() == *b.text();
  if (a.is_none() || a.undefined()) return a.is_none() ? b.is_none() : b.undefined() != nullptr;
  if (const List* x = a.list(), *y = b.list(); x && y) {
    return std::equal(x->begin(), x->end(), y->begin(), y->end(),
                      [&](const Value& p, const Value& q) { return equal(p, q, work); });
  }
  if (const Dict* x = a.dict(), *y = b.dict(); x && y) {
    return x->size() == y->size() && std::ranges::all_of(*x, [&](const auto& member) {
             const Value* other = b.find(member.first);
             return other != nullptr && equal(member.second, *other, work);
           });
  }
  return false;
}

std::string real_text(double number) {
  if (!std::isfinite(number)) return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", number);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string to_text(const Value& value, Work& work) {
  if (const std::string* text = value.text()) {
    work.spend(static_cast<int64_t>(text->size()));
    return *text;
  }
  return value.undefined() ? "" : repr(value, work);
}

std::string repr(const Value& value, Work& work) {
  work.spend(1);
  if (const std::string* text = value.text()) {
    work.spend(static_cast<int64_t>(text->size()));
    return quoted(*text);
  }
  if (value.undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* truth = value.boolean()) return *truth ? "True" : "False";
  if (const int64_t* number = value.integer()) return fmt::format("{}", *number);
  if (const double* number = value.real()) return real_text(*number);
  std::vector<std::string> parts;
  if (const List* list = value.list()) {
    for (const Value& item : *list) parts.push_back(repr(item, work));
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [name, member] : *dict) parts.push_back(quoted(name) + ": " + repr(member, work));
  } else {
    fail("the chat template prints {}", value.kind());
  }
  const std::string joined = fmt::format("{}", fmt::join(parts, ", "));
  work.spend(static_cast<int64_t>(joined.size()));
  return value.list() ? "[" + joined + "]" : "{" + joined + "}";
}

std::string to_json(const Value& value, const JsonStyle& style, Work& work) {
  return JsonWriter(style, work).write(value, 0);
}

}  // namespace kvpareto::jinja
