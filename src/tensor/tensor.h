#pragma once
// Typed, shaped views of bytes that someone else owns, and the buffers that own them.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "tensor/float_types.h"

namespace kvpareto {

enum class DType { kF32, kBf16 };

inline size_t bytes_of(DType type) { return type == DType::kF32 ? 4 : 2; }

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::kBf16;
};

// A view of up to three dimensions, row-major; rows may stand apart (`row_stride` elements from one index of the first
// dimension to the next), the rest is contiguous.
struct Tensor {
  void* data = nullptr;
  DType type = DType::kF32;
  int64_t shape[3] = {0, 1, 1};
  int64_t row_stride = 0;  // elements

  int64_t rows() const { return shape[0]; }
  int64_t columns() const { return shape[1] * shape[2]; }  // elements of one row

  template <typename T>
  T* as() const {
    assert(type == DTypeOf<T>::value);
    return static_cast<T*>(data);
  }
  template <typename T>
  T* row(int64_t i) const {
    return as<T>() + i * row_stride;
  }

  // Rows [begin, begin + count).
  Tensor slice(int64_t begin, int64_t count) const {
    Tensor part = *this;
    part.data = static_cast<char*>(data) + static_cast<size_t>(begin * row_stride) * bytes_of(type);
    part.shape[0] = count;
    return part;
  }
  // Columns [begin, begin + n * width) of every row, seen as [rows, n, width].
  Tensor columns_as(int64_t begin, int64_t n, int64_t width) const {
    Tensor part = *this;
    part.data = static_cast<char*>(data) + static_cast<size_t>(begin) * bytes_of(type);
    part.shape[1] = n;
    part.shape[2] = width;
    return part;
  }
};

inline Tensor tensor(void* data, DType type, int64_t a, int64_t b = 1, int64_t c = 1) {
  return {data, type, {a, b, c}, b * c};
}
template <typename T>
Tensor tensor(T* data, int64_t a, int64_t b = 1, int64_t c = 1) {
  return tensor(static_cast<void*>(data), DTypeOf<T>::value, a, b, c);
}

// Owns bytes; who frees them is known to the deleter (host pages, a device). Movable, not copyable.
class Buffer {
 public:
  using Deleter = void (*)(void* data, size_t bytes, void* owner);
  Buffer() = default;
  Buffer(void* data, size_t bytes, Deleter deleter, void* owner)
      : data_(data), bytes_(bytes), deleter_(deleter), owner_(owner) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(deleter_, other.deleter_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) deleter_(data_, bytes_, owner_);
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Deleter deleter_ = nullptr;
  void* owner_ = nullptr;
};

}  // namespace kvpareto
