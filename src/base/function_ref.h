#pragma once
// A call of any body by its address: nothing is copied or allocated, so the body must outlive it.

namespace kvpareto {

template <typename Signature>
class FunctionRef;

template <typename... Arguments>
class FunctionRef<void(Arguments...)> {
 public:
  template <typename Body>
  FunctionRef(const Body& body)
      : call_([](const void* of, Arguments... arguments) { (*static_cast<const Body*>(of))(arguments...); }),
        body_(&body) {}
  void operator()(Arguments... arguments) const { call_(body_, arguments...); }

 private:
  void (*call_)(const void* body, Arguments...);
  const void* body_;
};

}  // namespace kvpareto
