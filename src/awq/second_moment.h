#pragma once
// What the output error of a linear depends on: H = sum over calibration tokens of weight * x x^T, x the linear's
// input. An error E [rows, columns] of its weight moves its outputs by the sum of squares tr(E H E^T).

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace kvpareto {

// H f32 [columns, columns]; the upper triangle alone is filled.
class SecondMoment {
 public:
  SecondMoment(Backend& backend, int64_t columns);

  // Adds rows of x [tokens, columns], f32 or bf16. `token_weights` f32 [tokens], or empty where every token counts 1.
  void add(Tensor x, std::span<const float> token_weights = {});

  // Takes correlations of channels for less than they were on these tokens: those off the diagonal times n / (n +
  // columns), n the number of tokens (of weights: (sum w)^2 / sum w^2). What many channels seem to have in common on
  // few tokens is chance, and rounding with feedback would follow it (Ledoit, Wolf 2004: shrinkage of a sample
  // covariance).
  void shrink();

  int64_t columns() const { return columns_; }
  double tokens() const { return tokens_; }  // sum of the tokens' weights
  std::span<const float> matrix() const { return matrix_; }
  std::vector<float> take_matrix() { return std::move(matrix_); }
  std::vector<float> diagonal() const;

 private:
  Backend& backend_;
  int64_t columns_;
  double tokens_ = 0, squares_ = 0;  // sums of the tokens' weights and of their squares
  std::vector<float> matrix_;
};

// H = U D U^T, U unit upper triangular: with it tr(E H E^T) = sum over k of D_k |(E U)_k|^2, so what the columns before
// k have done to the outputs can be made up for in column k (LDLQ of arXiv 2307.13304, which gives what GPTQ, arXiv
// 2210.17323, gives).
class Factor {
 public:
  // Adds `damping` times the mean of the diagonal to it first, so that channels without input are no hole. Takes the
  // matrix away from `moment`.
  Factor(Backend& backend, SecondMoment moment, double damping);

  int64_t columns() const { return columns_; }
  std::span<const float> pivots() const { return pivots_; }  // D
  // What the squared error of each column adds to the outputs: D where later columns make up for it, else the diagonal
  // of H.
  std::span<const float> importance(bool compensated) const { return compensated ? pivots_ : diagonal_; }
  const float* row(int64_t i) const {
    return upper_.data() + i * columns_;
  }  // of U; what is left of i + 1 is undefined
  // Of the moment of x / scales.
  void rescale(std::span<const float> scales);
  // e H e^T of every row e of an error f32 [rows, columns], and their sum, tr(E H E^T).
  std::vector<double> output_errors(std::span<const float> error) const;
  double output_error(std::span<const float> error) const;

 private:
  void factorize_block(int64_t begin, int64_t end, double least_pivot);
  void factorize_panel(int64_t begin, int64_t end);
  void update_rest(int64_t begin, int64_t end);

  Backend& backend_;
  int64_t columns_;
  std::vector<float> upper_, pivots_, diagonal_;
};

}  // namespace kvpareto
