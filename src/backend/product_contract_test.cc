// Dense products of two matrices, every backend against reference.

#include "backend/contract.h"

namespace kvpareto {
namespace {

TEST(ProductContract, AddsUpInF32WhateverTheStrides) {
  Random random(21);
  for (const auto& [m, n, k, gap] : std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>{
           {1, 1, 1, 0}, {3, 5, 7, 0}, {16, 48, 128, 16}, {129, 65, 200, 3}, {40, 300, 33, 0}}) {
    const std::vector<float> a = normals(random, m * k), b = normals(random, n * k), start = normals(random, m * n);
    for (const bool accumulate : {false, true}) {
      Matrix first(DType::kF32, m, k, gap, a), second(DType::kF32, n, k, gap, b);
      Matrix wanted(DType::kF32, m, n, 0, start);
      reference().product(first.view(), second.view(), wanted.view(), accumulate);
      for (const auto& backend : tested()) {
        SCOPED_TRACE(fmt::format("{} {}x{}x{} {}", backend->name(), m, n, k, accumulate));
        Matrix out(DType::kF32, m, n, gap, start);
        backend->product(first.view(), second.view(), out.view(), accumulate);
        expect_close(out.values(), wanted.values(), [&](size_t i) {
          const int64_t row = static_cast<int64_t>(i) / n, column = static_cast<int64_t>(i) % n;
          double sizes = accumulate ? std::abs(start[i]) : 0;
          for (int64_t c = 0; c < k; ++c) {
            sizes += std::abs(a[static_cast<size_t>(row * k + c)] * b[static_cast<size_t>(column * k + c)]);
          }
          return sizes * sum_error(static_cast<double>(k + 2));
        });
        EXPECT_TRUE(out.gaps_are_untouched());
      }
    }
  }
}

TEST(ProductContract, FactorsOfTheActivationsTypeAddUpInF32) {
  constexpr int64_t kM = 40, kN = 33, kK = 70, kGap = 2;
  Random random(22);
  const std::vector<float> a = normals(random, kM * kK), b = normals(random, kN * kK), start = normals(random, kM * kN);
  for (const auto& backend : tested()) {
    SCOPED_TRACE(backend->name());
    Matrix first(backend->activation(), kM, kK, kGap, a), second(backend->activation(), kN, kK, kGap, b);
    Matrix exact_first(DType::kF32, kM, kK, 0, first.values()), exact_second(DType::kF32, kN, kK, 0, second.values());
    Matrix wanted(DType::kF32, kM, kN, 0, start), out(DType::kF32, kM, kN, kGap, start);
    reference().product(exact_first.view(), exact_second.view(), wanted.view(), true);
    backend->product(first.view(), second.view(), out.view(), true);
    // Of terms no larger than about 10.
    expect_close(out.values(), wanted.values(), [&](size_t) { return 10.0 * kK * sum_error(kK + 2); });
    EXPECT_TRUE(out.gaps_are_untouched());
  }
}

}  // namespace
}  // namespace kvpareto
