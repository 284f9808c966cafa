// Elements, members and order of values.
#include <algorithm>

#include "base/error.h"
#include "text/jinja/library.h"
#include "text/unicode.h"

namespace kvpareto::jinja {

const Value* Call::find(size_t i, std::string_view wanted) const {
  if (i < arguments.positional.size()) return &arguments.positional[i];
  const auto found = std::ranges::find(arguments.named, wanted, &Dict::value_type::first);
  return found != arguments.named.end() ? &found->second : nullptr;
}
const Value& Call::need(size_t i, std::string_view wanted) const {
  if (const Value* found = find(i, wanted)) return *found;
  fail("the chat template calls '{}' without its argument {}", shown(name), wanted);
}
void Call::wrong(std::string_view wanted, const Value& found) const {
  fail("the chat template calls '{}', which wants {}, with {}", shown(name), wanted, found.kind());
}
std::string Call::text(size_t i, std::string_view wanted, std::string_view fallback) const {
  const Value* found = find(i, wanted);
  if (found == nullptr || found->is_none()) return std::string(fallback);
  if (found->text() == nullptr) wrong("a string", *found);
  return *found->text();
}
int64_t Call::integer(size_t i, std::string_view wanted, int64_t fallback) const {
  const Value* found = find(i, wanted);
  if (found == nullptr || found->is_none()) return fallback;
  if (found->integer() == nullptr) wrong("a whole number", *found);
  return *found->integer();
}
bool Call::truth(size_t i, std::string_view wanted, bool fallback) const {
  const Value* found = find(i, wanted);
  return found != nullptr ? found->truth() : fallback;
}
void Call::at_most(size_t count) const {
  if (arguments.positional.size() + arguments.named.size() <= count) return;
  fail("the chat template calls '{}' with {} arguments; supported are {}", shown(name),
       arguments.positional.size() + arguments.named.size(), count);
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> all;
  for (size_t i = 0; i < text.size(); i += all.back().size()) {
    all.push_back(text.substr(i, std::max<size_t>(character_size(text.substr(i)), 1)));
  }
  return all;
}

List elements(const Value& value, Work& work) {
  work.spend(length_of(value, work));
  if (value.undefined()) return {};
  if (const List* list = value.list()) return *list;
  List items;
  if (const Dict* dict = value.dict()) {
    for (const auto& member : *dict) items.emplace_back(member.first);
  } else {
    for (const std::string_view character : characters(*value.text())) items.emplace_back(character);
  }
  return items;
}

int64_t length_of(const Value& value, Work& work) {
  if (value.undefined()) return 0;
  if (const List* list = value.list()) return static_cast<int64_t>(list->size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->size());
  if (value.text() == nullptr) fail("the chat template asks for the elements of {}", value.kind());
  work.spend(static_cast<int64_t>(value.text()->size()));
  return static_cast<int64_t>(characters(*value.text()).size());
}

int order(const Value& a, const Value& b) {
  if (a.text() && b.text()) {
    const int compared = a.text()->compare(*b.text());
    return compared < 0 ? -1 : compared > 0;
  }
  if (!a.is_number() || !b.is_number()) fail("the chat template compares {} with {}", a.kind(), b.kind());
  const auto number = [](const Value& v) {
    return v.boolean() ? *v.boolean() : v.integer() ? static_cast<double>(*v.integer()) : *v.real();
  };
  return number(a) < number(b) ? -1 : number(a) > number(b);
}

bool contains(const Value& container, const Value& item, Work& work) {
  if (const std::string* text = container.text()) {
    work.spend(static_cast<int64_t>(text->size()));
    if (item.text() == nullptr) fail("the chat template looks for {} in a string", item.kind());
    return text->find(*item.text()) != text->npos;
  }
  if (container.dict() != nullptr) return item.text() != nullptr && container.find(*item.text()) != nullptr;
  if (const List* list = container.list()) {
    return std::ranges::any_of(*list, [&](const Value& other) { return equal(item, other, work); });
  }
  if (container.undefined()) return false;
  fail("the chat template looks for something in {}", container.kind());
}

Value member_of(const Value& object, std::string_view name, Work& work) {
  if (object.undefined()) fail("the chat template asks for '{}' of {}", shown(name), object.kind());
  if (const Namespace* names = object.names()) {
    const auto found = names->members.find(name);
    return found != names->members.end() ? found->second : Value(Undefined{std::string(name)});
  }
  // As in Python, a method goes before a member of the same name.
  if (const MethodFunction method = find_method(object, name)) {
    return Value(
        Function{std::string(name), [object, method, &work, called = std::string(name)](const Arguments& arguments) {
                   return method(object, Call{work, arguments, called});
                 }});
  }
  const Value* found = object.find(name);
  return found != nullptr ? *found : Value(Undefined{std::string(name)});
}

Value item_of(const Value& object, const Value& key, Work& work) {
  if (object.undefined()) fail("the chat template asks for an element of {}", object.kind());
  if (const std::string* name = key.text()) {
    const Value* found = object.find(*name);
    return found != nullptr ? *found : object.dict() ? Value(Undefined{*name}) : member_of(object, *name, work);
  }
  if (key.integer() == nullptr || (object.list() == nullptr && object.text() == nullptr))
    return Value(Undefined{"element"});
  const int64_t size = length_of(object, work), index = *key.integer() < 0 ? *key.integer() + size : *key.integer();
  if (index < 0 || index >= size) return Value(Undefined{"element"});
  if (const List* list = object.list()) return (*list)[static_cast<size_t>(index)];
  return characters(*object.text())[static_cast<size_t>(index)];
}

}  // namespace kvpareto::jinja
