#pragma once
// Small matrices with inputs such as models have. Included by *_test.cc alone.

#include <span>
#include <vector>

#include "awq/round_weights.h"
#include "awq/second_moment.h"
#include "base/random.h"

namespace kvpareto {

inline constexpr int64_t kColumns = 320, kRows = 48, kTokens = 900;  // columns: two whole blocks and a half

inline Backend& backend() {
  static const std::unique_ptr<Backend> made = make_backend("auto");
  return *made;
}

// Inputs as models have them: channels of very different size that go together.
inline std::vector<float> correlated(Random& random, int64_t tokens) {
  std::vector<float> x(static_cast<size_t>(tokens * kColumns));
  for (int64_t t = 0; t < tokens; ++t) {
    double common[4];
    for (double& value : common) value = random.normal();
    for (int64_t c = 0; c < kColumns; ++c) {
      const double size = c % 37 == 0 ? 12 : 0.3 + 0.01 * static_cast<double>(c % 50);
      x[static_cast<size_t>(t * kColumns + c)] = static_cast<float>(size * (0.6 * random.normal() + common[c % 4]));
    }
  }
  return x;
}

inline std::vector<float> normal_weights(Random& random) {
  std::vector<float> w(static_cast<size_t>(kRows * kColumns));
  for (float& value : w) value = static_cast<float>(0.05 * random.normal());
  return w;
}

inline SecondMoment moment_of(std::vector<float>& x, std::span<const float> weights = {}) {
  SecondMoment moment(backend(), kColumns);
  moment.add(tensor(x.data(), static_cast<int64_t>(x.size()) / kColumns, kColumns), weights);
  return moment;
}

// Sum of squares of what `error` [rows, columns] does to the outputs of these inputs.
inline double output_squares(const std::vector<float>& error, const std::vector<float>& x) {
  double sum = 0;
  for (size_t t = 0; t < x.size() / kColumns; ++t) {
    for (size_t r = 0; r < error.size() / kColumns; ++r) {
      double value = 0;
      for (size_t c = 0; c < kColumns; ++c) value += double{error[r * kColumns + c]} * x[t * kColumns + c];
      sum += value * value;
    }
  }
  return sum;
}

inline std::vector<float> difference(const RoundedWeights& rounded, const std::vector<float>& weights) {
  std::vector<float> values = rounded.values();
  for (size_t i = 0; i < values.size(); ++i) values[i] -= weights[i];
  return values;
}

}  // namespace kvpareto
