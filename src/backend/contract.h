#pragma once
// What the contract tests of the backends share: every backend of this machine, tensors with gaps between their rows,
// packed sides, and how far apart two results may be. Included by *_test.cc alone.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"

namespace kvpareto {

inline constexpr double kF32Unit = 0x1.0p-24;  // largest relative error of rounding to f32
inline constexpr double kBf16Unit = 0x1.0p-8;

// Error of a sum of n terms in f32, relative to the sum of their magnitudes: rounding errors are independent enough to
// grow as sqrt(n), and 8 standard deviations hold in every run (Higham and Mary, 2019, theorem 2.4 with lambda = 8).
// The worst case, n, would let a missing term of a long sum pass.
inline double sum_error(double n) { return 8 * std::sqrt(n) * kF32Unit; }

// Relative error of a product of two f32 factors before it is summed: with AMX a factor is the sum of two bf16 (off by
// 2^-16 each) and the product of the two low parts (2^-16) is left out.
inline double factor_error(const Backend& backend) { return backend.name() == "cpu/amx_bf16" ? 3 * 0x1.0p-16 : 0; }

inline Backend& reference() {
  static const std::unique_ptr<Backend> backend = make_backend("reference");
  return *backend;
}

// All others that this machine runs.
inline const std::vector<std::unique_ptr<Backend>>& tested() {
  static const std::vector<std::unique_ptr<Backend>> backends = [] {
    std::vector<std::unique_ptr<Backend>> made;
    for (const std::string& name : backend_names()) {
      if (name != "reference") made.push_back(make_backend(name));
    }
    return made;
  }();
  return backends;
}

inline std::vector<float> normals(Random& random, int64_t n, double size = 1) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = static_cast<float>(size * random.normal());
  return values;
}

inline std::vector<float> rounded_to_bf16(std::vector<float> values) {
  for (float& x : values) x = to_float(to_bf16(x));
  return values;
}

// A tensor of its own whose rows stand `gap` elements apart; gaps and what has not been written hold a mark.
class Matrix {
 public:
  Matrix(DType type, int64_t rows, int64_t columns, int64_t gap = 0)
      : type_(type), rows_(rows), columns_(columns), stride_(columns + gap) {
    bytes_.assign(static_cast<size_t>(rows * stride_) * bytes_of(type), kMark);
  }
  Matrix(DType type, int64_t rows, int64_t columns, int64_t gap, const std::vector<float>& values)
      : Matrix(type, rows, columns, gap) {
    for (int64_t i = 0; i < rows * columns; ++i) {
      const int64_t at = i / columns * stride_ + i % columns;
      const float x = values[static_cast<size_t>(i)];
      if (type == DType::kF32) reinterpret_cast<float*>(bytes_.data())[at] = x;
      if (type == DType::kBf16) reinterpret_cast<bf16*>(bytes_.data())[at] = to_bf16(x);
    }
  }

  // Seen as [rows, n, columns / n].
  Tensor view(int64_t n = 1) { return {bytes_.data(), type_, {rows_, n, columns_ / n}, stride_}; }

  std::vector<float> values() const {
    std::vector<float> out;
    for (int64_t i = 0; i < rows_ * columns_; ++i) {
      const int64_t at = i / columns_ * stride_ + i % columns_;
      out.push_back(type_ == DType::kF32 ? reinterpret_cast<const float*>(bytes_.data())[at]
                                         : to_float(reinterpret_cast<const bf16*>(bytes_.data())[at]));
    }
    return out;
  }
  bool gaps_are_untouched() const {
    const size_t row = static_cast<size_t>(stride_) * bytes_of(type_),
                 used = static_cast<size_t>(columns_) * bytes_of(type_);
    for (size_t i = 0; i < bytes_.size(); ++i) {
      if (i % row >= used && bytes_[i] != kMark) return false;
    }
    return true;
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  static constexpr uint8_t kMark = 0xff;  // NaN in every type: read by mistake, it shows
  DType type_;
  int64_t rows_, columns_, stride_;
  std::vector<uint8_t> bytes_;
};

// Scratch of exactly the stated size, and whether anything was written behind it.
class GuardedScratch {
 public:
  explicit GuardedScratch(size_t bytes) : size_((bytes + 63) / 64 * 64), bytes_(size_ + kGuard + 64, 0xa5) {}
  Tensor view() { return tensor(reinterpret_cast<float*>(begin()), static_cast<int64_t>(size_ / sizeof(float))); }
  bool guard_is_untouched() {
    return std::all_of(begin() + size_, begin() + size_ + kGuard, [](uint8_t byte) { return byte == 0xa5; });
  }

 private:
  static constexpr size_t kGuard = 4096;
  uint8_t* begin() { return bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64; }
  size_t size_;
  std::vector<uint8_t> bytes_;
};

// One side of one layer with its bytes, laid out as packed_side.h says; bytes not packed yet read as NaN.
class OwnedSide {
 public:
  OwnedSide(Codec codec, int group, int head_dim, int kv_heads, int64_t tokens, Lanes lanes = Lanes::kChannels) {
    side.lanes = lanes;
    side.codec = codec;
    side.head_dim = head_dim;
    side.kv_heads = kv_heads;
    side.group = has_scale(codec) ? group : head_dim;
    side.row_bytes = static_cast<size_t>(head_dim * bits_of(codec) / 8);
    side.scales_offset = side.row_bytes * kBlockTokens;
    const size_t metadata = has_scale(codec) ? sizeof(f16) * static_cast<size_t>(side.groups() * kBlockTokens) : 0;
    side.minimums_offset = side.scales_offset + metadata;
    side.block_bytes = Backend::padded(side.minimums_offset + metadata);
    side.head_bytes = side.block_bytes * static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens);
    bytes.assign(side.head_bytes * static_cast<size_t>(kv_heads), 0xff);
    side.data = bytes.data();
  }
  OwnedSide(const OwnedSide&) = delete;
  OwnedSide& operator=(const OwnedSide&) = delete;

  PackedSide side;
  std::vector<uint8_t> bytes;
};

// Demands |got - wanted| <= bound(i) of every element; says the worst one.
inline void expect_close(const std::vector<float>& got, const std::vector<float>& wanted,
                         const std::function<double(size_t)>& bound) {
  ASSERT_EQ(got.size(), wanted.size());
  double worst = -1;
  size_t place = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double off = std::abs(static_cast<double>(got[i]) - wanted[i]);
    const double share = std::isfinite(got[i]) ? off / (bound(i) + 1e-300) : HUGE_VAL;
    if (share <= worst) continue;
    worst = share;
    place = i;
  }
  EXPECT_LE(worst, 1) << "element " << place << ": " << got[place] << ", wanted " << wanted[place] << " +- "
                      << bound(place);
}

// Half a unit of the type that a result is stored in.
inline double storing_error(DType type, float value) {
  return std::abs(value) * (type == DType::kBf16 ? kBf16Unit : kF32Unit);
}

}  // namespace kvpareto
