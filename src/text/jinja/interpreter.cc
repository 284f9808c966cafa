#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/jinja/syntax.h"
#include "text/jinja/template.h"
#include "text/unicode.h"

namespace kvpareto::jinja {
namespace {

using Frame = std::map<std::string, Value, std::less<>>;
enum class Flow { kOn, kBreak, kContinue };

constexpr int kMostLevels = 400;  // of evaluations inside each other, macros included

class Interpreter {
 public:
  Interpreter(const Dict& variables, std::tm now) {
    Frame& builtin = frames_.emplace_back();
    for (const auto& [name, value] : globals(work_, now)) builtin[name] = value;
    for (const auto& [name, value] : variables) builtin[name] = value;
    frames_.emplace_back();
  }

  std::string run(const std::vector<NodePtr>& body) {
    std::string out;
    execute(body, out);
    return out;
  }

 private:
  // --- statements

  Flow execute(const std::vector<NodePtr>& body, std::string& out) {
    for (const NodePtr& node : body) {
      if (const Flow flow = execute(*node, out); flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow execute(const Node& node, std::string& out) {
    work_.spend(1);
    switch (node.kind) {
      case Kind::kText:
        return put(node.text, out), Flow::kOn;
      case Kind::kPrint:
        return put(to_text(evaluate(*node.children[0]), work_), out), Flow::kOn;
      case Kind::kIf:
        return execute(evaluate(*node.children[0]).truth() ? node.body : node.other, out);
      case Kind::kFor:
        return loop(node, out), Flow::kOn;
      case Kind::kSet:
        return bind(node.names, evaluate(*node.children[0]), node), Flow::kOn;
      case Kind::kSetBlock:
        return set_block(node), Flow::kOn;
      case Kind::kSetMember:
        return set_member(node), Flow::kOn;
      case Kind::kMacro:
        return define(node), Flow::kOn;
      case Kind::kBreak:
        return Flow::kBreak;
      default:
        return Flow::kContinue;
    }
  }

  void put(std::string_view text, std::string& out) {
    work_.spend(static_cast<int64_t>(text.size()));
    out += text;
  }

  // One name takes the value, several take its elements.
  void bind(const std::vector<std::string>& names, Value value, const Node& node) {
    if (names.size() == 1) {
      frames_.back()[names[0]] = std::move(value);
      return;
    }
    const List items = elements(value, work_);
    if (items.size() != names.size())
      fail("the chat template, line {}: {} values for {} names", node.line, items.size(), names.size());
    for (size_t i = 0; i < names.size(); ++i) frames_.back()[names[i]] = items[i];
  }

  void set_block(const Node& node) {
    std::string text;
    frames_.emplace_back();
    execute(node.body, text);
    frames_.pop_back();
    Value value(std::move(text));
    if (node.children[0] != nullptr) {
      filtered_ = &value;
      value = Value(evaluate(*node.children[0]));
    }
    frames_.back()[node.names[0]] = std::move(value);
  }

  void set_member(const Node& node) {
    Namespace* names = lookup(node.names[0]).names();
    if (names == nullptr)
      fail("the chat template, line {}: {} is no namespace, its members cannot be set", node.line,
           shown(node.names[0]));
    Value value = evaluate(*node.children[0]);
    if (value.names()) fail("the chat template puts a namespace into a namespace, which is not supported");
    names->members[node.names[1]] = std::move(value);
  }

  List filtered(const Node& node) {
    const Value given = evaluate(*node.children[0]);
    List items = elements(given, work_);
    if (node.children[1] == nullptr) return items;
    List kept;
    frames_.emplace_back();
    for (const Value& item : items) {
      bind(node.names, item, node);
      if (evaluate(*node.children[1]).truth()) kept.push_back(item);
    }
    frames_.pop_back();
    return kept;
  }

  Value loop_value(const List& items, size_t i) {
    const auto index = static_cast<int64_t>(i), count = static_cast<int64_t>(items.size());
    Dict members = {{"index0", index},
                    {"index", index + 1},
                    {"revindex", count - index},
                    {"revindex0", count - index - 1},
                    {"first", i == 0},
                    {"last", i + 1 == items.size()},
                    {"length", count}};
    members.emplace_back("cycle", Value(Function{"cycle", [i](const Arguments& arguments) {
                                                   const List& all = arguments.positional;
                                                   if (all.empty())
                                                     fail("the chat template calls loop.cycle without values");
                                                   return all[i % all.size()];
                                                 }}));
    if (i > 0) members.emplace_back("previtem", items[i - 1]);
    if (i + 1 < items.size()) members.emplace_back("nextitem", items[i + 1]);
    return members;
  }

  void loop(const Node& node, std::string& out) {
    const List items = filtered(node);
    if (items.empty()) {
      execute(node.other, out);
      return;
    }
    for (size_t i = 0; i < items.size(); ++i) {
      frames_.emplace_back();
      frames_.back()["loop"] = loop_value(items, i);
      bind(node.names, items[i], node);
      const Flow flow = execute(node.body, out);
      frames_.pop_back();
      if (flow == Flow::kBreak) break;
    }
  }

  void define(const Node& node) {
    frames_.back()[node.text] =
        Value(Function{node.text, [this, &node](const Arguments& arguments) { return call_macro(node, arguments); }});
  }

  // A macro sees what the template has set outside of loops and other macros, and its arguments.
  Value call_macro(const Node& node, const Arguments& arguments) {
    if (arguments.positional.size() > node.names.size()) {
      fail("the chat template calls the macro '{}' with {} arguments, it has {}", shown(node.text),
           arguments.positional.size(), node.names.size());
    }
    const Level level(*this, node);
    std::deque<Frame> outer;
    while (frames_.size() > 2) {
      outer.push_front(std::move(frames_.back()));
      frames_.pop_back();
    }
    frames_.emplace_back();
    for (size_t i = 0; i < node.names.size(); ++i) frames_.back()[node.names[i]] = argument(node, arguments, i);
    std::string out;
    execute(node.body, out);
    frames_.resize(2);
    for (Frame& frame : outer) frames_.push_back(std::move(frame));
    return out;
  }

  Value argument(const Node& node, const Arguments& arguments, size_t i) {
    if (const Value* given = Call{work_, arguments, node.text}.find(i, node.names[i])) return *given;
    for (const auto& [name, value] : node.named) {
      if (name == node.names[i]) return evaluate(*value);
    }
    return Value(Undefined{node.names[i]});
  }

  // --- expressions

  class Level {
   public:
    Level(Interpreter& interpreter, const Node& node) : interpreter_(interpreter) {
      if (++interpreter_.levels_ <= kMostLevels) return;
      --interpreter_.levels_;
      fail("the chat template, line {}: more than {} calls inside each other", node.line, kMostLevels);
    }
    ~Level() { --interpreter_.levels_; }

   private:
    Interpreter& interpreter_;
  };

  Value lookup(const std::string& name) const {
    for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
      if (const auto found = frame->find(name); found != frame->end()) return found->second;
    }
    return Value(Undefined{name});
  }

  Value evaluate(const Node& node) {
    const Level level(*this, node);
    work_.spend(1);
    switch (node.kind) {
      case Kind::kLiteral:
        return node.value;
      case Kind::kName:
        return lookup(node.text);
      case Kind::kList:
        return list(node);
      case Kind::kDict:
        return dict(node);
      case Kind::kMember:
        return member_of(evaluate(*node.children[0]), node.text, work_);
      case Kind::kItem:
        return item_of(evaluate(*node.children[0]), evaluate(*node.children[1]), work_);
      case Kind::kSlice:
        return slice(node);
      case Kind::kCall:
        return call(node);
      case Kind::kFilter:
        return filter(node);
      case Kind::kTest:
        return test(node);
      case Kind::kNot:
        return !evaluate(*node.children[0]).truth();
      case Kind::kNegative:
        return negative(evaluate(*node.children[0]), node);
      case Kind::kAnd: {
        Value left = evaluate(*node.children[0]);
        return left.truth() ? evaluate(*node.children[1]) : left;
      }
      case Kind::kOr: {
        Value left = evaluate(*node.children[0]);
        return left.truth() ? left : evaluate(*node.children[1]);
      }
      case Kind::kOperation:
        return operation(node, evaluate(*node.children[0]), evaluate(*node.children[1]));
      case Kind::kComparison:
        return comparison(node);
      default:
        return conditional(node);
    }
  }

  Value list(const Node& node) {
    List items;
    for (const NodePtr& child : node.children) items.push_back(evaluate(*child));
    return items;
  }

  Value dict(const Node& node) {
    Dict members;
    for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
      const Value name = evaluate(*node.children[i]);
      if (name.text() == nullptr)
        fail("the chat template, line {}: a dict whose key is {}, which is not supported", node.line, name.kind());
      Value value = evaluate(*node.children[i + 1]);
      const auto same = std::ranges::find(members, *name.text(), &Dict::value_type::first);
      same != members.end() ? void(same->second = std::move(value))
                            : void(members.emplace_back(*name.text(), std::move(value)));
      work_.spend(static_cast<int64_t>(members.size()));
    }
    return members;
  }

  Value slice(const Node& node) {
    const Value object = evaluate(*node.children[0]);
    const auto part = [&](size_t i) -> std::optional<int64_t> {
      if (node.children[i] == nullptr) return std::nullopt;
      const Value value = evaluate(*node.children[i]);
      if (value.is_none()) return std::nullopt;
      if (!value.integer()) fail("the chat template, line {}: a slice by {}", node.line, value.kind());
      return *value.integer();
    };
    const int64_t count = length_of(object, work_), step = part(3).value_or(1);
    if (step == 0) fail("the chat template, line {}: a slice in steps of 0", node.line);
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
    const auto bound = [&](std::optional<int64_t> at, int64_t fallback) {
      if (!at) return fallback;
      return std::clamp(*at < 0 ? *at + count : *at, low, high);
    };
    const int64_t begin = bound(part(1), step > 0 ? low : high), end = bound(part(2), step > 0 ? high : low);
    const List all = elements(object, work_);
    List taken;
    for (int64_t i = begin; step > 0 ? i < end : i > end;) {
      taken.push_back(all[static_cast<size_t>(i)]);
      if (__builtin_add_overflow(i, step, &i)) break;
    }
    if (!object.text()) return taken;
    std::string text;
    for (const Value& character : taken) text += *character.text();
    return text;
  }

  Arguments arguments_of(const Node& node) {
    Arguments arguments;
    for (const NodePtr& argument : node.arguments) arguments.positional.push_back(evaluate(*argument));
    for (const auto& [name, argument] : node.named) arguments.named.emplace_back(name, evaluate(*argument));
    return arguments;
  }

  Value call(const Node& node) {
    const Value function = evaluate(*node.children[0]);
    if (!function.function()) {
      const std::string name =
          node.children[0]->text.empty() ? function.kind() : "'" + shown(node.children[0]->text) + "'";
      fail("the chat template, line {}: calls {}, which is no function", node.line, name);
    }
    return function.function()->call(arguments_of(node));
  }

  Value filter(const Node& node) {
    const FilterFunction function = find_filter(node.text);
    const Value value = node.children[0] != nullptr ? evaluate(*node.children[0]) : *filtered_;
    return function(value, Call{work_, arguments_of(node), node.text});
  }

  Value test(const Node& node) {
    const TestFunction function = find_test(node.text);
    const Value value = evaluate(*node.children[0]);
    return function(value, Call{work_, arguments_of(node), node.text});
  }

  static Value negative(const Value& value, const Node& node) {
    if (value.real()) return -*value.real();
    if (value.integer()) return static_cast<int64_t>(-static_cast<uint64_t>(*value.integer()));
    fail("the chat template, line {}: minus {}", node.line, value.kind());
  }

  Value conditional(const Node& node) {
    if (evaluate(*node.children[1]).truth()) return evaluate(*node.children[0]);
    return node.children[2] != nullptr ? evaluate(*node.children[2]) : Value();
  }

  Value comparison(const Node& node) {
    Value left = evaluate(*node.children[0]);
    for (size_t i = 0; i < node.names.size(); ++i) {
      Value right = evaluate(*node.children[i + 1]);
      if (!compares(left, node.names[i], right)) return false;
      left = std::move(right);
    }
    return true;
  }

  bool compares(const Value& left, const std::string& op, const Value& right) {
    if (op == "==") return equal(left, right, work_);
    if (op == "!=") return !equal(left, right, work_);
    if (op == "in") return contains(right, left, work_);
    if (op == "not in") return !contains(right, left, work_);
    const int order_of = order(left, right);
    return op == "<" ? order_of < 0 : op == "<=" ? order_of <= 0 : op == ">" ? order_of > 0 : order_of >= 0;
  }

  Value operation(const Node& node, const Value& left, const Value& right) {
    const std::string& op = node.text;
    if (op == "~") return to_text(left, work_) + to_text(right, work_);
    if (op == "+" && left.text() && right.text()) {
      work_.spend(static_cast<int64_t>(left.text()->size() + right.text()->size()));
      return *left.text() + *right.text();
    }
    if (op == "+" && left.list() && right.list()) {
      work_.spend(static_cast<int64_t>(left.list()->size() + right.list()->size()));
      List both = *left.list();
      both.insert(both.end(), right.list()->begin(), right.list()->end());
      return both;
    }
    if (op == "*" && left.text() && right.integer()) return repeated(*left.text(), *right.integer());
    if (!left.is_number() || !right.is_number()) {
      fail("the chat template, line {}: {} {} {}, which is not supported", node.line, left.kind(), op, right.kind());
    }
    return arithmetic(node, left, right);
  }

  Value repeated(const std::string& text, int64_t times) {
    std::string out;
    for (int64_t i = 0; i < times; ++i) {
      work_.spend(static_cast<int64_t>(text.size()) + 1);
      out += text;
    }
    return out;
  }

  static Value arithmetic(const Node& node, const Value& left, const Value& right) {
    const std::string& op = node.text;
    const auto real = [](const Value& v) {
      return v.real() ? *v.real() : v.integer() ? static_cast<double>(*v.integer()) : *v.boolean();
    };
    const double a = real(left), b = real(right);
    if ((op == "/" || op == "//" || op == "%") && b == 0)
      fail("the chat template, line {}: divides by zero", node.line);
    if (op == "/") return a / b;
    if (!left.real() && !right.real() && op != "**") {
      const int64_t x = left.integer() ? *left.integer() : *left.boolean(),
                    y = right.integer() ? *right.integer() : *right.boolean();
      int64_t result = 0;
      bool overflow = false;
      if (op == "+") overflow = __builtin_add_overflow(x, y, &result);
      if (op == "-") overflow = __builtin_sub_overflow(x, y, &result);
      if (op == "*") overflow = __builtin_mul_overflow(x, y, &result);
      if (op == "//" || op == "%") {
        if (y == -1) {
          overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, x, &result);
        } else {
          const int64_t rest = x % y;
          const bool other_sign = rest != 0 && (rest < 0) != (y < 0);  // Python's remainder has the divisor's
          result = op == "%" ? rest + (other_sign ? y : 0) : x / y - (other_sign ? 1 : 0);
        }
      }
      if (overflow) fail("the chat template, line {}: a number too large", node.line);
      return result;
    }
    if (op == "+") return a + b;
    if (op == "-") return a - b;
    if (op == "*") return a * b;
    const double power = std::pow(a, b);
    if (op == "**")
      return !left.real() && !right.real() && b >= 0 && std::abs(power) < 9e15 ? Value(static_cast<int64_t>(power))
                                                                               : Value(power);
    const double floor = std::floor(a / b);
    return op == "//" ? floor : a - floor * b;
  }

  Work work_;
  std::deque<Frame> frames_;  // what is built in and given, what the template sets, then one a loop
  const Value* filtered_ = nullptr;
  int levels_ = 0;
};

}  // namespace

std::string render(std::string_view source, const Dict& variables, std::tm now) {
  const std::vector<NodePtr> body = parse(source);
  return Interpreter(variables, now).run(body);
}

}  // namespace kvpareto::jinja
