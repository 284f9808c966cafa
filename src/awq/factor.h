#pragma once
// The second moment of a linear's inputs, factorized: what rounding with feedback and corrections of weights work with.

#include <cstdint>
#include <span>
#include <vector>

#include "awq/second_moment.h"

namespace kvpareto {

// H = U D U^T, U unit upper triangular: with it tr(E H E^T) = sum over k of D_k |(E U)_k|^2, so what the columns before
// k have done to the outputs can be made up for in column k (LDLQ of arXiv 2307.13304, which gives what GPTQ, arXiv
// 2210.17323, gives). Columns are taken in the order of their inputs' mean squares, largest first (GPTQ's act-order):
// what rounding the loudest does is then made up for by all others. Rows and columns of U are places in that order;
// everything else here goes by the linear's own columns.
class Factor {
 public:
  // Adds `damping` times the mean of the diagonal to it first, so that channels without input are no hole. Takes the
  // matrix away from `moment`.
  Factor(Backend& backend, SecondMoment moment, double damping);

  int64_t columns() const { return columns_; }
  std::span<const int32_t> order() const { return order_; }  // the column at each place
  std::span<const float> pivots() const { return pivots_; }  // D, by place
  // What the squared error of each column adds to the outputs: D where later columns make up for it, else the diagonal
  // of H.
  std::vector<float> importance(bool compensated) const { return by_column(compensated ? pivots_ : diagonal_); }
  // Of U; what is left of i + 1 is undefined.
  const float* row(int64_t i) const { return upper_.data() + i * columns_; }
  // Of the moment of x / scales.
  void rescale(std::span<const float> scales);
  // e H e^T of every row e of an error f32 [rows, columns], and their sum, tr(E H E^T).
  std::vector<double> output_errors(std::span<const float> error) const;
  double output_error(std::span<const float> error) const;
  // m H^-1 of m f32 [rows, columns].
  std::vector<float> solve(std::span<const float> m) const;

 private:
  void solve_upper_transposed(Tensor y) const;
  void solve_upper(Tensor y) const;
  void factorize_block(int64_t begin, int64_t end, double least_pivot);
  void factorize_panel(int64_t begin, int64_t end);
  void update_rest(int64_t begin, int64_t end);

  // Of every row of a matrix.
  std::vector<float> by_column(std::span<const float> by_place) const;
  std::vector<float> by_place(std::span<const float> by_column) const;

  Backend& backend_;
  int64_t columns_;
  std::vector<int32_t> order_;
  std::vector<float> upper_, pivots_, diagonal_;  // by place
};

}  // namespace kvpareto
