#pragma once
// Values of the template language: Python's, as far as chat templates see them. Lists and dicts never change once made;
// a namespace does, and therefore can stand in no list, dict or namespace.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kvpareto::jinja {

class Value;
class Work;

using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in the order given, every name once

struct Undefined {
  std::string name;  // what was looked for
};
struct Arguments {
  List positional;
  Dict named;
};
struct Function {
  std::string name;
  std::function<Value(const Arguments&)> call;
};
struct Namespace {
  std::map<std::string, Value, std::less<>> members;
};

class Value {
 public:
  Value() : data_(Undefined{}) {}
  explicit Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(std::nullptr_t) : data_(nullptr) {}
  Value(bool truth) : data_(truth) {}
  Value(int64_t number) : data_(number) {}
  Value(int number) : data_(int64_t{number}) {}
  Value(double number) : data_(number) {}
  Value(std::string text) : data_(std::move(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(const char* text) : data_(std::string(text)) {}
  // Throw Error for a namespace inside, or nesting deeper than kMostDepth.
  Value(List items);
  Value(Dict members);
  explicit Value(Function function) : data_(std::make_shared<const Function>(std::move(function))) {}
  explicit Value(std::shared_ptr<Namespace> names) : data_(std::move(names)) {}

  // Null if it is something else.
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const std::string* text() const { return std::get_if<std::string>(&data_); }
  const List* list() const { return shared<const List>(); }
  const Dict* dict() const { return shared<const Dict>(); }
  const Function* function() const { return shared<const Function>(); }
  Namespace* names() const { return shared<Namespace>(); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }
  bool is_none() const { return std::holds_alternative<std::nullptr_t>(data_); }
  bool is_number() const { return boolean() || integer() || real(); }

  bool truth() const;                              // Python's bool(x)
  const Value* find(std::string_view name) const;  // of a dict; null if there is none
  std::string kind() const;                        // for messages: "a string"
  int depth() const;                               // of lists and dicts inside each other

  static constexpr int kMostDepth = 64;

 private:
  template <typename T>
  T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer ? pointer->get() : nullptr;
  }
  std::variant<Undefined, std::nullptr_t, bool, int64_t, double, std::string, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, std::shared_ptr<const Function>, std::shared_ptr<Namespace>>
      data_;
  int depth_ = 0;
};

// What a rendering may cost: a template comes with a model file, and must not run for ever or fill the memory.
class Work {
 public:
  static constexpr int64_t kMost = 50'000'000;  // steps and bytes
  void spend(int64_t amount);                   // throws Error when all is spent
  int64_t spent() const { return spent_; }

 private:
  int64_t spent_ = 0;
};

bool equal(const Value& a, const Value& b, Work& work);
std::string to_text(const Value& value, Work& work);  // str(x)
std::string repr(const Value& value, Work& work);     // repr(x)
// A number as Python prints it.
std::string real_text(double number);

struct JsonStyle {
  int indent = -1;  // spaces a level; -1: one line
  bool ascii = false, sorted = false;
  std::string between_items, between_pair = ": ";
};
// json.dumps(x).
std::string to_json(const Value& value, const JsonStyle& style, Work& work);

}  // namespace kvpareto::jinja
