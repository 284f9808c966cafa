#include <array>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

Value range(const Call& call) {
  call.at_most(3);
  const size_t count = call.arguments.positional.size();
  const int64_t first = call.integer(0, "start", 0), second = call.integer(1, "stop", 0),
                step = call.integer(2, "step", 1);
  const int64_t begin = count > 1 ? first : 0, end = count > 1 ? second : first;
  if (step == 0) fail("the chat template calls range with a step of 0");
  List numbers;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    call.work.spend(10);
    numbers.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return numbers;
}

Value make_namespace(const Call& call) {
  auto names = std::make_shared<Namespace>();
  if (!call.arguments.positional.empty()) fail("the chat template makes a namespace of a dict, which is not supported");
  for (const auto& [name, value] : call.arguments.named) {
    if (value.names()) fail("the chat template puts a namespace into a namespace, which is not supported");
    names->members[name] = value;
  }
  return Value(std::move(names));
}

Value date(const Call& call, const std::tm& now) {
  const std::string format = call.text(0, "format", "");
  if (format.size() > 100) fail("the chat template asks for a date in a format of {} characters", format.size());
  // strftime() leaves its buffer unsaid if nothing is written; a character more tells an empty date from one too long.
  std::array<char, 2000> buffer;
  const size_t size = std::strftime(buffer.data(), buffer.size(), (format + "|").c_str(), &now);
  if (size == 0) fail("the chat template asks for a date that is too long");
  return std::string(buffer.data(), size - 1);
}

}  // namespace

Dict globals(Work& work, std::tm now) {
  Dict names;
  const auto add = [&](const char* name, auto function) {
    names.emplace_back(name, Value(Function{name, [&work, name, function](const Arguments& arguments) {
                                              return Value(function(Call{work, arguments, name}));
                                            }}));
  };
  add("range", range);
  add("namespace", make_namespace);
  add("dict", [](const Call& call) {
    if (!call.arguments.positional.empty())
      fail("the chat template calls dict with an argument without a name, which is not supported");
    return Value(call.arguments.named);
  });
  add("raise_exception", [](const Call& call) -> Value {
    fail("the chat template refuses the conversation: {}", shown(to_text(call.need(0, "message"), call.work), 300));
  });
  add("strftime_now", [now](const Call& call) { return date(call, now); });
  return names;
}

}  // namespace kvpareto::jinja
