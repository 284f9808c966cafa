// "x is ...".
#include <algorithm>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

bool is_cased(const Value& value, bool upper) {
  if (value.text() == nullptr) return false;
  const std::string same = upper ? upper_case(*value.text()) : lower_case(*value.text());
  const std::string other = upper ? lower_case(*value.text()) : upper_case(*value.text());
  return *value.text() == same && same != other;
}

bool divides(const Value& value, int64_t divisor) {
  return value.integer() != nullptr && divisor != 0 && *value.integer() % divisor == 0;
}

struct Row {
  std::string_view name;
  TestFunction test;
};
constexpr Row kTests[] = {
    {"defined", [](const Value& v, const Call&) { return v.undefined() == nullptr; }},
    {"undefined", [](const Value& v, const Call&) { return v.undefined() != nullptr; }},
    {"none", [](const Value& v, const Call&) { return v.is_none(); }},
    {"string", [](const Value& v, const Call&) { return v.text() != nullptr; }},
    {"number", [](const Value& v, const Call&) { return v.is_number(); }},
    {"integer", [](const Value& v, const Call&) { return v.integer() != nullptr; }},
    {"float", [](const Value& v, const Call&) { return v.real() != nullptr; }},
    {"boolean", [](const Value& v, const Call&) { return v.boolean() != nullptr; }},
    {"true", [](const Value& v, const Call&) { return v.boolean() != nullptr && *v.boolean(); }},
    {"false", [](const Value& v, const Call&) { return v.boolean() != nullptr && !*v.boolean(); }},
    {"mapping", [](const Value& v, const Call&) { return v.dict() != nullptr; }},
    {"sequence", [](const Value& v, const Call&) { return v.list() || v.dict() || v.text(); }},
    {"iterable", [](const Value& v, const Call&) { return v.list() || v.dict() || v.text() || v.undefined(); }},
    {"callable", [](const Value& v, const Call&) { return v.function() != nullptr; }},
    {"odd", [](const Value& v, const Call&) { return v.integer() != nullptr && !divides(v, 2); }},
    {"even", [](const Value& v, const Call&) { return divides(v, 2); }},
    {"divisibleby", [](const Value& v, const Call& c) { return divides(v, c.integer(0, "num", 0)); }},
    {"upper", [](const Value& v, const Call&) { return is_cased(v, true); }},
    {"lower", [](const Value& v, const Call&) { return is_cased(v, false); }},
    {"in", [](const Value& v, const Call& c) { return contains(c.need(0, "seq"), v, c.work); }},
    {"eq", [](const Value& v, const Call& c) { return equal(v, c.need(0, "other"), c.work); }},
    {"equalto", [](const Value& v, const Call& c) { return equal(v, c.need(0, "other"), c.work); }},
    {"==", [](const Value& v, const Call& c) { return equal(v, c.need(0, "other"), c.work); }},
    {"ne", [](const Value& v, const Call& c) { return !equal(v, c.need(0, "other"), c.work); }},
    {"lt", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) < 0; }},
    {"lessthan", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) < 0; }},
    {"le", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) <= 0; }},
    {"gt", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) > 0; }},
    {"greaterthan", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) > 0; }},
    {"ge", [](const Value& v, const Call& c) { return order(v, c.need(0, "other")) >= 0; }},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto found = std::ranges::find(kTests, name, &Row::name);
  if (found != std::end(kTests)) return found->test;
  fail("the chat template uses the test '{}', which is not supported", shown(name));
}

}  // namespace kvpareto::jinja
