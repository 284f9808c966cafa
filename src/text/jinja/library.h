#pragma once
// What templates can call. Each table is a list of names and functions; the functions get the work that may still be
// done and throw Error in one line.

#include <ctime>
#include <string_view>

#include "text/jinja/value.h"

namespace kvpareto::jinja {

struct Call {
  Work& work;
  const Arguments& arguments;
  std::string_view name;  // of what is called, for messages

  // Positional argument `i`, or the one of this name; null if it is missing.
  const Value* find(size_t i, std::string_view name) const;
  const Value& need(size_t i, std::string_view name) const;
  std::string text(size_t i, std::string_view name, std::string_view fallback) const;
  int64_t integer(size_t i, std::string_view name, int64_t fallback) const;
  bool truth(size_t i, std::string_view name, bool fallback) const;
  // Throws Error unless there are at most so many.
  void at_most(size_t count) const;
  [[noreturn]] void wrong(std::string_view wanted, const Value& found) const;
};

using FilterFunction = Value (*)(const Value& value, const Call& call);
using TestFunction = bool (*)(const Value& value, const Call& call);
using MethodFunction = Value (*)(const Value& object, const Call& call);

FilterFunction find_filter(std::string_view name);  // throw Error listing nothing but the name if there is none
TestFunction find_test(std::string_view name);
// Of strings, dicts and lists; null if such values have no method of this name.
MethodFunction find_method(const Value& object, std::string_view name);
// Namespaces, ranges, dates, exceptions.
Dict globals(Work& work, std::tm now);

// The elements that a loop over `value` sees: of a list, names of a dict, characters of a string; none if it is
// undefined. Throws Error for others.
List elements(const Value& value, Work& work);
int64_t length_of(const Value& value, Work& work);
// -1, 0, 1; throws Error for values without an order.
int order(const Value& a, const Value& b);
bool contains(const Value& container, const Value& item, Work& work);
// object.name and object[key]: undefined if there is none.
Value member_of(const Value& object, std::string_view name, Work& work);
Value item_of(const Value& object, const Value& key, Work& work);

// Characters of a string as views.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace kvpareto::jinja
