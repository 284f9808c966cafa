#include "awq/second_moment.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kWideColumns = 512;  // of the upper triangle, that one product fills
constexpr int64_t kTile = 16;          // f32 of a cache line

template <typename T>
T rounded(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(x);
  } else {
    return x;
  }
}

// The roots of the weights, or ones.
std::vector<float> roots(std::span<const float> weights, int64_t tokens) {
  std::vector<float> factors(static_cast<size_t>(tokens), 1.0f);
  for (size_t t = 0; t < weights.size(); ++t) factors[t] = std::sqrt(weights[t]);
  return factors;
}

// out [columns, tokens] = row(token)(column) times the token's factor, transposed by tiles, which stay in the
// first-level cache.
template <typename T, typename Rows>
void transpose(int64_t columns, std::span<const float> factors, const Rows& row, T* out) {
  const auto tokens = static_cast<int64_t>(factors.size());
  parallel_ranges(columns, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t first = 0; first < tokens; first += kTile) {
      const int64_t last = std::min(first + kTile, tokens);
      for (int64_t c = begin; c < end; c += kTile) {
        for (int64_t t = first; t < last; ++t) {
          const auto value = row(t);
          const float factor = factors[static_cast<size_t>(t)];
          for (int64_t i = c; i < std::min(c + kTile, end); ++i) out[i * tokens + t] = rounded<T>(factor * value(i));
        }
      }
    }
  });
}

template <typename T>
auto values_of(Tensor x) {
  return [x](int64_t t) { return [row = x.row<T>(t)](int64_t c) { return to_float(row[c]); }; };
}

template <typename T>
auto differences_of(Tensor a, Tensor b) {
  return [a, b](int64_t t) {
    return [left = a.row<T>(t), right = b.row<T>(t)](int64_t c) { return to_float(left[c]) - to_float(right[c]); };
  };
}

// Weighted tokens stay of their type: rounding them again is 2^-9 of a value at random, far less than what a sample of
// tokens leaves unknown.
template <typename T>
std::vector<T> channels_of(Tensor x, std::span<const float> factors) {
  std::vector<T> out(static_cast<size_t>(x.rows() * x.columns()));
  transpose(x.columns(), factors, values_of<T>(x), out.data());
  return out;
}

template <typename T>
void add_products(Backend& backend, Tensor x, std::span<const float> weights, Tensor sum) {
  std::vector<T> turned = channels_of<T>(x, roots(weights, x.rows()));
  const Tensor channels = tensor(turned.data(), x.columns(), x.rows());
  add_upper(backend, channels, channels, sum);
}

template <typename T>
void add_crossed(Backend& backend, Tensor a, Tensor b, Tensor x, std::span<const float> weights, Tensor sum) {
  const std::vector<float> factors = roots(weights, x.rows());
  std::vector<T> differences(static_cast<size_t>(a.rows() * a.columns()));
  if (a.type == DType::kF32) {
    transpose(a.columns(), factors, differences_of<float>(a, b), differences.data());
  } else {
    transpose(a.columns(), factors, differences_of<bf16>(a, b), differences.data());
  }
  std::vector<T> turned = channels_of<T>(x, factors);
  backend.product(tensor(differences.data(), a.columns(), a.rows()), tensor(turned.data(), x.columns(), x.rows()), sum,
                  true);
}

}  // namespace

void add_upper(Backend& backend, Tensor a, Tensor b, Tensor out) {
  for (int64_t c = 0; c < a.rows(); c += kWideColumns) {
    const int64_t count = std::min(kWideColumns, a.rows() - c);
    backend.product(a.slice(0, c + count), b.slice(c, count), out.slice(0, c + count).columns_as(c, count, 1), true);
  }
}

SecondMoment::SecondMoment(Backend& backend, int64_t columns)
    : backend_(backend), columns_(columns), matrix_(static_cast<size_t>(columns * columns)) {}

void SecondMoment::add(Tensor x, std::span<const float> token_weights) {
  const Tensor sum = tensor(matrix_.data(), columns_, columns_);
  if (x.type == DType::kBf16) {
    add_products<bf16>(backend_, x, token_weights, sum);
  } else {
    add_products<float>(backend_, x, token_weights, sum);
  }
  if (token_weights.empty()) {
    tokens_ += static_cast<double>(x.rows());
    squares_ += static_cast<double>(x.rows());
  }
  for (const double weight : token_weights) {
    tokens_ += weight;
    squares_ += weight * weight;
  }
}

float SecondMoment::shrink() {
  if (squares_ == 0) return 1;
  const double count = tokens_ * tokens_ / squares_;
  const auto kept = static_cast<float>(count / (count + static_cast<double>(columns_)));
  parallel_ranges(columns_, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = r + 1; c < columns_; ++c) matrix_[static_cast<size_t>(r * columns_ + c)] *= kept;
    }
  });
  return kept;
}

std::vector<float> SecondMoment::diagonal() const {
  std::vector<float> values(static_cast<size_t>(columns_));
  for (int64_t c = 0; c < columns_; ++c)
    values[static_cast<size_t>(c)] = matrix_[static_cast<size_t>(c * (columns_ + 1))];
  return values;
}

CrossMoment::CrossMoment(Backend& backend, int64_t rows, int64_t columns)
    : backend_(backend), rows_(rows), columns_(columns), matrix_(static_cast<size_t>(rows * columns)) {}

void CrossMoment::add(Tensor a, Tensor b, Tensor x, std::span<const float> token_weights) {
  const Tensor sum = tensor(matrix_.data(), rows_, columns_);
  if (x.type == DType::kBf16) {
    add_crossed<bf16>(backend_, a, b, x, token_weights, sum);
  } else {
    add_crossed<float>(backend_, a, b, x, token_weights, sum);
  }
}

}  // namespace kvpareto
