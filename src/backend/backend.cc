#include "backend/backend.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {

Buffer Backend::allocate(size_t bytes, Purpose purpose) {
  static constexpr const char* kNames[kPurposes] = {"weights", "the KV cache", "scratch", "logits"};
  const auto kind = static_cast<size_t>(purpose);
  const size_t whole = padded(bytes);
  const bool fits = whole >= bytes;  // else rounding up has wrapped round
  void* data = fits && whole > 0 ? obtain(whole) : nullptr;
  if (data == nullptr && bytes > 0) {
    throw Error(Exit::kNoMemory,
                fmt::format("no memory for {}: wanted {} more beside {} of weights and {} of KV cache", kNames[kind],
                            human_bytes(static_cast<double>(bytes)), human_bytes(static_cast<double>(allocated_[0])),
                            human_bytes(static_cast<double>(allocated_[1]))));
  }
  allocated_[kind] += whole;
  // A deleter is a plain function, so each purpose has its own.
  static constexpr Buffer::Deleter kDeleters[kPurposes] = {
      [](void* d, size_t n, void* o) { static_cast<Backend*>(o)->free_counted(d, n, 0); },
      [](void* d, size_t n, void* o) { static_cast<Backend*>(o)->free_counted(d, n, 1); },
      [](void* d, size_t n, void* o) { static_cast<Backend*>(o)->free_counted(d, n, 2); },
      [](void* d, size_t n, void* o) { static_cast<Backend*>(o)->free_counted(d, n, 3); }};
  return {data, whole, kDeleters[kind], this};
}

size_t Backend::gated_scratch_bytes(int64_t tokens, const LinearSpec& spec) const {
  return padded(static_cast<size_t>(tokens * spec.rows()) * sizeof(float)) + linear_scratch_bytes(tokens, spec);
}

void Backend::gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch) {
  const size_t bytes = padded(static_cast<size_t>(x.rows() * gate_up.rows()) * sizeof(float));
  const auto taken = static_cast<int64_t>(bytes / sizeof(float));
  const Tensor both = tensor(scratch.data, DType::kF32, x.rows(), gate_up.rows());
  linear(gate_up, x, both, false,
         tensor(scratch.as<float>() + taken, DType::kF32, scratch.rows() * scratch.columns() - taken));
  swiglu(both, out);
}

int64_t Backend::best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch) {
  linear(weight, x, products, false, scratch);
  const float* first = products.as<float>();
  return std::max_element(first, first + weight.rows()) - first;
}

void Backend::free_counted(void* data, size_t bytes, size_t kind) {
  allocated_[kind] -= bytes;
  give_up(data, bytes);
}

}  // namespace kvpareto
