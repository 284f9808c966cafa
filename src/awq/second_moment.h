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
  // Returns n / (n + columns).
  float shrink();

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

// C = sum over calibration tokens of weight * d x^T, d = a - b: how what a linear sees, or what its product is added
// to, has drifted off, as far as the linear's input x tells: C H^-1 x is the best linear guess of d.
class CrossMoment {
 public:
  CrossMoment(Backend& backend, int64_t rows, int64_t columns);

  // a, b [tokens, rows], f32 or bf16; x [tokens, columns], f32 or bf16; `token_weights` as of SecondMoment.
  void add(Tensor a, Tensor b, Tensor x, std::span<const float> token_weights = {});

  std::vector<float> take_matrix() { return std::move(matrix_); }  // f32 [rows, columns]

 private:
  Backend& backend_;
  int64_t rows_, columns_;
  std::vector<float> matrix_;
};

// The upper triangle of out [n, n] += a [n, k] b [n, k]^T.
void add_upper(Backend& backend, Tensor a, Tensor b, Tensor out);

}  // namespace kvpareto
