#include "awq/second_moment.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kBlock = 128;        // columns that are factorized at once
constexpr int64_t kWideColumns = 512;  // of the upper triangle, that one product fills
// A pivot below this part of the damping is rounding noise of the f32 updates.
constexpr double kLeastPivot = 1e-2;

constexpr int64_t kTile = 16;  // f32 of a cache line

template <typename T>
T rounded(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(x);
  } else {
    return x;
  }
}

// out [columns, tokens] = x^T with every token times the root of its weight; by tiles, which stay in the first-level
// cache.
template <typename T>
void transpose(Tensor x, std::span<const float> weights, T* out) {
  const int64_t tokens = x.rows(), columns = x.columns();
  std::vector<float> factors(static_cast<size_t>(tokens), 1.0f);
  for (size_t t = 0; t < weights.size(); ++t) factors[t] = std::sqrt(weights[t]);
  parallel_ranges(columns, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t first = 0; first < tokens; first += kTile) {
      const int64_t last = std::min(first + kTile, tokens);
      for (int64_t c = begin; c < end; c += kTile) {
        for (int64_t t = first; t < last; ++t) {
          const T* row = x.row<T>(t);
          for (int64_t i = c; i < std::min(c + kTile, end); ++i) {
            out[i * tokens + t] = rounded<T>(factors[static_cast<size_t>(t)] * to_float(row[i]));
          }
        }
      }
    }
  });
}

// The upper triangle of out [n, n] += a [n, k] b [n, k]^T.
void add_upper(Backend& backend, Tensor a, Tensor b, Tensor out) {
  for (int64_t c = 0; c < a.rows(); c += kWideColumns) {
    const int64_t count = std::min(kWideColumns, a.rows() - c);
    backend.product(a.slice(0, c + count), b.slice(c, count), out.slice(0, c + count).columns_as(c, count, 1), true);
  }
}

// Weighted tokens stay of their type: rounding them again is 2^-9 of a value at random, far less than what a sample of
// tokens leaves unknown.
template <typename T>
void add_products(Backend& backend, Tensor x, std::span<const float> weights, Tensor sum) {
  std::vector<T> turned(static_cast<size_t>(x.rows() * x.columns()));
  transpose(x, weights, turned.data());
  const Tensor channels = tensor(turned.data(), x.columns(), x.rows());
  add_upper(backend, channels, channels, sum);
}

}  // namespace

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

void SecondMoment::shrink() {
  if (squares_ == 0) return;
  const double count = tokens_ * tokens_ / squares_;
  const auto kept = static_cast<float>(count / (count + static_cast<double>(columns_)));
  parallel_ranges(columns_, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = r + 1; c < columns_; ++c) matrix_[static_cast<size_t>(r * columns_ + c)] *= kept;
    }
  });
}

std::vector<float> SecondMoment::diagonal() const {
  std::vector<float> values(static_cast<size_t>(columns_));
  for (int64_t c = 0; c < columns_; ++c)
    values[static_cast<size_t>(c)] = matrix_[static_cast<size_t>(c * (columns_ + 1))];
  return values;
}

Factor::Factor(Backend& backend, SecondMoment moment, double damping)
    : backend_(backend),
      columns_(moment.columns()),
      pivots_(static_cast<size_t>(moment.columns())),
      diagonal_(moment.diagonal()) {
  double mean = 0;
  for (const float value : diagonal_) mean += value / static_cast<double>(columns_);
  const double added = mean > 0 ? damping * mean : 1;
  upper_ = moment.take_matrix();
  for (int64_t c = 0; c < columns_; ++c) {
    float& value = diagonal_[static_cast<size_t>(c)];
    value += static_cast<float>(added);
    upper_[static_cast<size_t>(c * (columns_ + 1))] = value;
  }
  for (int64_t end = columns_; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock;
    factorize_block(begin, end, kLeastPivot * added);
    factorize_panel(begin, end);
    update_rest(begin, end);
    end = begin;
  }
}

// The block on the diagonal, last column first, in double.
void Factor::factorize_block(int64_t begin, int64_t end, double least_pivot) {
  const int64_t n = end - begin;
  std::vector<double> h(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) h[static_cast<size_t>(i * n + j)] = row(begin + i)[begin + j];
  }
  for (int64_t k = n - 1; k >= 0; --k) {
    const double pivot = std::max(least_pivot, h[static_cast<size_t>(k * n + k)]);
    pivots_[static_cast<size_t>(begin + k)] = static_cast<float>(pivot);
    for (int64_t i = 0; i < k; ++i) {
      const double factor = h[static_cast<size_t>(i * n + k)] / pivot;
      for (int64_t j = i; j < k; ++j) h[static_cast<size_t>(i * n + j)] -= factor * h[static_cast<size_t>(j * n + k)];
    }
    for (int64_t i = 0; i < k; ++i) h[static_cast<size_t>(i * n + k)] /= pivot;
  }
  for (int64_t i = 0; i < n; ++i) {
    float* out = upper_.data() + (begin + i) * columns_ + begin;
    for (int64_t j = i; j < n; ++j) out[j] = static_cast<float>(h[static_cast<size_t>(i * n + j)]);
  }
}

// Rows above the block: p = u D U_b^T, solved for u D from the last column on; u is left in upper_.
void Factor::factorize_panel(int64_t begin, int64_t end) {
  const int64_t n = end - begin;
  std::vector<float> turned(static_cast<size_t>(n * n));  // U_b^T
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) turned[static_cast<size_t>(j * n + i)] = row(begin + i)[begin + j];
  }
  parallel_ranges(begin, 8, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      float* p = upper_.data() + r * columns_ + begin;
      for (int64_t k = n - 1; k > 0; --k) {
        const float value = p[k];
        const float* column = turned.data() + k * n;
#pragma omp simd
        for (int64_t j = 0; j < k; ++j) p[j] -= value * column[j];
      }
      for (int64_t k = 0; k < n; ++k) p[k] /= pivots_[static_cast<size_t>(begin + k)];
    }
  });
}

// What the block's columns explain is taken off the triangle before them.
void Factor::update_rest(int64_t begin, int64_t end) {
  if (begin == 0) return;
  const int64_t n = end - begin;
  std::vector<float> panel(static_cast<size_t>(begin * n)), weighted(panel.size());
  for (int64_t r = 0; r < begin; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      const float value = row(r)[begin + k];
      panel[static_cast<size_t>(r * n + k)] = value;
      weighted[static_cast<size_t>(r * n + k)] = -value * pivots_[static_cast<size_t>(begin + k)];
    }
  }
  Tensor rest = tensor(upper_.data(), columns_, columns_).slice(0, begin);
  add_upper(backend_, tensor(weighted.data(), begin, n), tensor(panel.data(), begin, n), rest);
}

void Factor::rescale(std::span<const float> scales) {
  parallel_ranges(columns_, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float own = scales[static_cast<size_t>(i)];
      float* u = upper_.data() + i * columns_;
      for (int64_t j = i + 1; j < columns_; ++j) u[j] *= scales[static_cast<size_t>(j)] / own;
      pivots_[static_cast<size_t>(i)] /= own * own;
      diagonal_[static_cast<size_t>(i)] /= own * own;
    }
  });
}

std::vector<double> Factor::output_errors(std::span<const float> error) const {
  const int64_t rows = static_cast<int64_t>(error.size()) / columns_;
  std::vector<float> through(error.begin(), error.end());  // E U: the unit diagonal first
  std::vector<float> block;
  for (int64_t begin = 0; begin < columns_; begin += kWideColumns) {
    const int64_t end = std::min(begin + kWideColumns, columns_);
    // U^T of these columns, [end - begin, end], zero where U is not defined.
    block.assign(static_cast<size_t>((end - begin) * end), 0.0f);
    parallel_ranges(end - begin, kTile, [&](int64_t first, int64_t last) {
      for (int64_t i = 0; i < begin + last; ++i) {
        for (int64_t j = std::max(begin + first, i + 1); j < begin + last; ++j) {
          block[static_cast<size_t>((j - begin) * end + i)] = row(i)[j];
        }
      }
    });
    const Tensor all = tensor(const_cast<float*>(error.data()), rows, columns_);
    backend_.product(all.columns_as(0, end, 1), tensor(block.data(), end - begin, end),
                     tensor(through.data(), rows, columns_).columns_as(begin, end - begin, 1), true);
  }
  std::vector<double> sums(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns_; ++c) {
      const double value = through[static_cast<size_t>(r * columns_ + c)];
      sums[static_cast<size_t>(r)] += pivots_[static_cast<size_t>(c)] * value * value;
    }
  }
  return sums;
}

double Factor::output_error(std::span<const float> error) const {
  double sum = 0;
  for (const double row : output_errors(error)) sum += row;
  return sum;
}

}  // namespace kvpareto
