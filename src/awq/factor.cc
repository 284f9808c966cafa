#include "awq/factor.h"

#include <algorithm>
#include <numeric>

#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kBlock = 128;        // columns that are factorized or solved at once
constexpr int64_t kWideColumns = 512;  // that one product fills
constexpr int64_t kTile = 16;          // f32 of a cache line
// A pivot below this part of the damping is rounding noise of the f32 updates.
constexpr double kLeastPivot = 1e-2;

std::vector<int32_t> loudest_first(std::span<const float> squares) {
  std::vector<int32_t> order(squares.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return squares[static_cast<size_t>(a)] > squares[static_cast<size_t>(b)];
  });
  return order;
}

// Rows and columns of an upper triangle in another order.
std::vector<float> reordered(const std::vector<float>& upper, std::span<const int32_t> order) {
  const size_t n = order.size();
  std::vector<float> out(upper.size());
  parallel_ranges(static_cast<int64_t>(n), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      for (size_t j = i; j < n; ++j) {
        const auto [least, most] = std::minmax(order[i], order[j]);
        out[i * n + j] = upper[static_cast<size_t>(least) * n + static_cast<size_t>(most)];
      }
    }
  });
  return out;
}

}  // namespace

Factor::Factor(Backend& backend, SecondMoment moment, double damping)
    : backend_(backend),
      columns_(moment.columns()),
      order_(loudest_first(moment.diagonal())),
      pivots_(static_cast<size_t>(moment.columns())),
      diagonal_(by_place(moment.diagonal())) {
  double mean = 0;
  for (const float value : diagonal_) mean += value / static_cast<double>(columns_);
  const double added = mean > 0 ? damping * mean : 1;
  upper_ = reordered(moment.take_matrix(), order_);
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

std::vector<float> Factor::by_column(std::span<const float> by_place) const {
  std::vector<float> out(by_place.size());
  for (size_t first = 0; first < out.size(); first += order_.size()) {
    for (size_t i = 0; i < order_.size(); ++i) out[first + static_cast<size_t>(order_[i])] = by_place[first + i];
  }
  return out;
}

std::vector<float> Factor::by_place(std::span<const float> by_column) const {
  std::vector<float> out(by_column.size());
  for (size_t first = 0; first < out.size(); first += order_.size()) {
    for (size_t i = 0; i < order_.size(); ++i) out[first + i] = by_column[first + static_cast<size_t>(order_[i])];
  }
  return out;
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

void Factor::rescale(std::span<const float> scales_by_column) {
  const std::vector<float> scales = by_place(scales_by_column);
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

std::vector<double> Factor::output_errors(std::span<const float> error_by_column) const {
  const std::vector<float> error = by_place(error_by_column);
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

// y U^T = m, from the last block of columns on. Columns that are done hold minus their values, so that a product takes
// them off the others.
void Factor::solve_upper_transposed(Tensor y) const {
  std::vector<float> rest, turned(static_cast<size_t>(kBlock * kBlock));
  for (int64_t begin = (columns_ - 1) / kBlock * kBlock; begin >= 0; begin -= kBlock) {
    const int64_t end = std::min(begin + kBlock, columns_), n = end - begin, behind = columns_ - end;
    if (behind > 0) {
      rest.resize(static_cast<size_t>(n * behind));
      for (int64_t i = 0; i < n; ++i) std::copy_n(row(begin + i) + end, behind, rest.data() + i * behind);
      backend_.product(y.columns_as(end, behind, 1), tensor(rest.data(), n, behind), y.columns_as(begin, n, 1), true);
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i + 1; j < n; ++j) turned[static_cast<size_t>(j * kBlock + i)] = row(begin + i)[begin + j];
    }
    parallel_ranges(y.rows(), 8, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        float* p = y.row<float>(r) + begin;
        for (int64_t j = n - 1; j >= 0; --j) {
          const float value = p[j];
          const float* column = turned.data() + j * kBlock;
#pragma omp simd
          for (int64_t k = 0; k < j; ++k) p[k] -= value * column[k];
          p[j] = -value;
        }
      }
    });
  }
}

// x U = y, from the first block of columns on, and the same signs.
void Factor::solve_upper(Tensor y) const {
  std::vector<float> before, square(static_cast<size_t>(kBlock * kBlock));
  for (int64_t begin = 0; begin < columns_; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, columns_), n = end - begin;
    if (begin > 0) {
      before.resize(static_cast<size_t>(n * begin));  // U^T of the block's columns
      for (int64_t i = 0; i < begin; ++i) {
        for (int64_t j = 0; j < n; ++j) before[static_cast<size_t>(j * begin + i)] = row(i)[begin + j];
      }
      backend_.product(y.columns_as(0, begin, 1), tensor(before.data(), n, begin), y.columns_as(begin, n, 1), true);
    }
    parallel_ranges(y.rows(), 8, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        float* p = y.row<float>(r) + begin;
        for (int64_t k = 0; k < n; ++k) {
          const float value = p[k];
          const float* u = row(begin + k) + begin;
#pragma omp simd
          for (int64_t j = k + 1; j < n; ++j) p[j] -= value * u[j];
          p[k] = -value;
        }
      }
    });
  }
}

// m = x H = (x U D) U^T.
std::vector<float> Factor::solve(std::span<const float> m) const {
  std::vector<float> x = by_place(m);
  const Tensor all = tensor(x.data(), static_cast<int64_t>(m.size()) / columns_, columns_);
  solve_upper_transposed(all);
  for (size_t i = 0; i < x.size(); ++i) x[i] /= -pivots_[i % pivots_.size()];
  solve_upper(all);
  for (float& value : x) value = -value;
  return by_column(x);
}

}  // namespace kvpareto
