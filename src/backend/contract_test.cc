// Every backend of this machine against reference, on the same cases: operations on rows. Products are in
// linear_contract_test.cc, attention and packing in attend_contract_test.cc, memory in memory_contract_test.cc.

#include "backend/contract.h"

namespace kvpareto {
namespace {

TEST(RowContract, EmbedGivesTheStoredRows) {
  Random random(1);
  constexpr int64_t kRows = 70, kColumns = 144;
  const std::vector<float> table = normals(random, kRows * kColumns);
  const std::vector<int32_t> tokens = {0, 69, 3, 3, 64, 1, 63};
  for (const auto& backend : tested()) {
    SCOPED_TRACE(backend->name());
    const auto linear =
        backend->make_linear(kRows, kColumns,
                             [&](int64_t begin, int64_t count, float* out) {
                               std::copy_n(&table[static_cast<size_t>(begin * kColumns)], count * kColumns, out);
                             },
                             {});
    Matrix out(DType::kF32, static_cast<int64_t>(tokens.size()), kColumns, 16);
    backend->embed(*linear, tokens, out.view());
    std::vector<float> wanted;
    for (const int32_t token : tokens) {
      for (int64_t c = 0; c < kColumns; ++c)
        wanted.push_back(to_float(to_bf16(table[static_cast<size_t>(token * kColumns + c)])));
    }
    EXPECT_EQ(out.values(), wanted);
    EXPECT_TRUE(out.gaps_are_untouched());
  }
}

TEST(RowContract, RmsNorm) {
  Random random(2);
  for (const auto& [tokens, n, size] : std::vector<std::tuple<int64_t, int64_t, double>>{
           {1, 16, 1}, {1, 576, 1e-4}, {3, 896, 30}, {9, 144, 1}, {17, 960, 1e3}, {2, 64, 0}}) {
    const std::vector<float> x = normals(random, tokens * n, size), weight = normals(random, n);
    Matrix in(DType::kF32, tokens, n, 32, x), wanted(DType::kF32, tokens, n);
    reference().rms_norm(in.view(), weight.data(), 1e-5f, wanted.view());
    const std::vector<float> exact = wanted.values();
    for (const auto& backend : tested()) {
      for (const DType type : {DType::kF32, backend->activation()}) {
        SCOPED_TRACE(backend->name() + " " + std::to_string(n));
        Matrix out(type, tokens, n, 8);
        backend->rms_norm(in.view(), weight.data(), 1e-5f, out.view());
        // The sum counts half through the square root; division, root and the two products round once each.
        expect_close(out.values(), exact, [&](size_t i) {
          const double size_of_it = std::abs(exact[i]);
          return size_of_it * (sum_error(static_cast<double>(n)) / 2 + 6 * kF32Unit) + storing_error(type, exact[i]);
        });
        EXPECT_TRUE(out.gaps_are_untouched());
      }
    }
  }
}

TEST(RowContract, Rope) {
  Random random(3);
  for (const auto& [tokens, heads, head_dim] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 12, 64}, {5, 3, 32}, {9, 2, 128}, {4, 1, 96}, {2, 5, 256}}) {
    const std::vector<float> x = normals(random, tokens * heads * head_dim, 4);
    std::vector<float> turns;
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<float> sines;
      for (int64_t c = 0; c < head_dim / 2; ++c) {
        const double angle = 6.3 * random.uniform();
        turns.push_back(static_cast<float>(std::cos(angle)));
        sines.push_back(static_cast<float>(std::sin(angle)));
      }
      turns.insert(turns.end(), sines.begin(), sines.end());
    }
    Matrix wanted(DType::kF32, tokens, heads * head_dim, 0, x);
    reference().rope(wanted.view(heads), turns.data());
    for (const auto& backend : tested()) {
      SCOPED_TRACE(backend->name() + " " + std::to_string(head_dim));
      Matrix out(DType::kF32, tokens, heads * head_dim, 2 * head_dim, x);
      backend->rope(out.view(heads), turns.data());
      // Two products and their sum; neither product is larger than the pair.
      expect_close(out.values(), wanted.values(), [&](size_t i) {
        const size_t half = static_cast<size_t>(head_dim / 2), pair = i / half % 2 == 0 ? i + half : i - half;
        return 3 * kF32Unit * (std::abs(x[i]) + std::abs(x[pair]));
      });
      EXPECT_TRUE(out.gaps_are_untouched());
    }
  }
}

// The order of the sums is the same everywhere, so they are equal.
TEST(RowContract, Transform) {
  Random random(5);
  constexpr int64_t kTokens = 5, kHeads = 3;
  for (const int64_t head_dim : {16, 32, 48, 64, 80, 96, 128, 256}) {
    const std::vector<float> x = normals(random, kTokens * kHeads * head_dim, 4);
    const std::vector<float> offset = normals(random, kHeads * head_dim);
    for (const auto& [rotate, subtract] : {std::pair(true, false), {false, true}, {true, true}}) {
      const float* taken = subtract ? offset.data() : nullptr;
      Matrix wanted(DType::kF32, kTokens, kHeads * head_dim, 0, x);
      reference().transform(wanted.view(kHeads), rotate, taken);
      for (const auto& backend : tested()) {
        SCOPED_TRACE(backend->name() + " " + std::to_string(head_dim));
        Matrix out(DType::kF32, kTokens, kHeads * head_dim, head_dim, x);
        backend->transform(out.view(kHeads), rotate, taken);
        EXPECT_EQ(out.values(), wanted.values());
        EXPECT_TRUE(out.gaps_are_untouched());
      }
    }
  }
}

TEST(RowContract, Swiglu) {
  Random random(4);
  constexpr int64_t kN = 176, kTokens = 9;
  // Gates of trained models reach hundreds; the exponential overflows at 89 and every shortcut for it ends somewhere.
  for (const double size : {1.0, 30.0, 300.0, 1e6}) {
    std::vector<float> x = normals(random, kTokens * 2 * kN, size);
    const std::vector<float> edges = {0,    -0.0f, -87.5f, -89,    -104, -105, -128,  -180,
                                      -200, -355,  -1e4f,  -3e38f, 88,   200,  1e30f, -1e-40f};
    std::copy(edges.begin(), edges.end(), x.begin() + 40);
    Matrix in(DType::kF32, kTokens, 2 * kN, 64, x), wanted(DType::kF32, kTokens, kN);
    reference().swiglu(in.view(), wanted.view());
    const std::vector<float> exact = wanted.values();
    for (const auto& backend : tested()) {
      for (const DType type : {DType::kF32, backend->activation()}) {
        SCOPED_TRACE(backend->name() + " gates of " + std::to_string(size));
        Matrix out(type, kTokens, kN, 24);
        backend->swiglu(in.view(), out.view());
        // An exponential good to 2 units, three more roundings; where it nears the end of f32 the result has no digits
        // left.
        expect_close(out.values(), exact, [&](size_t i) {
          const double up = std::abs(x[i / kN * 2 * kN + kN + i % kN]);
          return std::abs(exact[i]) * 8 * kF32Unit + storing_error(type, exact[i]) + 1e-35 * (1 + up);
        });
        EXPECT_TRUE(out.gaps_are_untouched());
      }
    }
  }
}

}  // namespace
}  // namespace kvpareto
