// The row of a greedy choice, every backend against its own products; and the bounds by which rows are left out.

#include "backend/contract.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"

namespace kvpareto {
namespace {

struct Head {
  LinearSpec spec;
  std::vector<float> values;
};

Head random_head(Random& random, const WeightFormat& format, int64_t rows, int64_t columns,
                 Activations activations = Activations::kInt8) {
  return {{.parts = {{format, rows}}, .columns = columns, .activations = activations},
          normals(random, rows * columns, 0.02)};
}

std::unique_ptr<Linear> make(Backend& backend, const Head& head) {
  const WeightSource source = RowReader([&](int64_t begin, int64_t count, float* out) {
    std::copy_n(head.values.data() + begin * head.spec.columns, count * head.spec.columns, out);
  });
  return backend.make_linear(head.spec, {&source, 1}, {});
}

int64_t best_row(Backend& backend, const Head& head, const Linear& linear, const std::vector<float>& x) {
  Matrix in(backend.activation(), 1, head.spec.columns, 0, x), products(DType::kF32, 1, linear.rows());
  GuardedScratch scratch(backend.linear_scratch_bytes(1, head.spec));
  const int64_t row = backend.best_row(linear, in.view(), products.view(), scratch.view());
  EXPECT_TRUE(scratch.guard_is_untouched()) << "more scratch used than stated";
  return row;
}

void expect_largest(const Head& head, const std::vector<float>& x) {
  for (const auto& backend : tested()) {
    SCOPED_TRACE(fmt::format("{} {}x{}", backend->name(), head.spec.rows(), head.spec.columns));
    const auto linear = make(*backend, head);
    EXPECT_LE(backend->best_row_bytes(*linear), linear->bytes());
    Matrix in(backend->activation(), 1, head.spec.columns, 0, x), out(DType::kF32, 1, head.spec.rows());
    GuardedScratch scratch(backend->linear_scratch_bytes(1, head.spec));
    backend->linear(*linear, in.view(), out.view(), false, scratch.view());
    const std::vector<float> products = out.values();
    EXPECT_EQ(best_row(*backend, head, *linear, x),
              std::max_element(products.begin(), products.end()) - products.begin());
  }
}

const WeightFormat kApart[] = {
    {WeightCodec::kInt8Apart, 32}, {WeightCodec::kInt8Apart, 64}, {WeightCodec::kInt8Apart, 128}};

TEST(BestRowContract, IsTheLargestOfAllProducts) {
  Random random(31);
  for (const WeightFormat& format : {kApart[0], kApart[1], kApart[2], WeightFormat(),
                                     WeightFormat{WeightCodec::kInt8, 64}, WeightFormat{WeightCodec::kInt4, 32}}) {
    for (const int64_t rows : {1, 15, 40, 1000, 5000}) {
      for (const int64_t columns : {128, 896}) {
        const Head head = random_head(random, format, rows, columns);
        for (int i = 0; i < 3; ++i) expect_largest(head, rounded_to_bf16(normals(random, columns)));
      }
    }
  }
}

TEST(BestRowContract, InputsThatAreNotRoundedToo) {
  Random random(32);
  for (const WeightFormat& format : kApart) {
    const Head head = random_head(random, format, 700, 256, Activations::kFloat);
    expect_largest(head, rounded_to_bf16(normals(random, 256)));
  }
}

// Rows that differ in their low bits alone: nothing can be left out.
TEST(BestRowContract, LowBitsDecide) {
  constexpr int64_t kRows = 300, kColumns = 256;
  Random random(33);
  for (const WeightFormat& format : kApart) {
    const std::vector<float> row = normals(random, kColumns);
    Head head{{.parts = {{format, kRows}}, .columns = kColumns}, {}};
    for (int64_t r = 0; r < kRows; ++r) {
      for (const float value : row) head.values.push_back(value + static_cast<float>(0.005 * random.normal()));
    }
    for (int i = 0; i < 5; ++i) expect_largest(head, rounded_to_bf16(normals(random, kColumns)));
  }
}

TEST(BestRowContract, OfEqualRowsTheFirst) {
  constexpr int64_t kRows = 200, kColumns = 128;
  Random random(34);
  for (const WeightFormat& format : {kApart[2], WeightFormat()}) {
    Head head = random_head(random, format, kRows, kColumns);
    for (const int64_t copy : {70, 71, 190}) {
      std::copy_n(head.values.data() + 37 * kColumns, kColumns, head.values.data() + copy * kColumns);
    }
    const std::vector<float> like(head.values.begin() + 37 * kColumns, head.values.begin() + 38 * kColumns);
    for (const auto& backend : tested()) {
      const auto linear = make(*backend, head);
      EXPECT_EQ(best_row(*backend, head, *linear, rounded_to_bf16(like)), 37) << backend->name();
      EXPECT_EQ(best_row(*backend, head, *linear, std::vector<float>(kColumns)), 0) << backend->name();
      EXPECT_EQ(best_row(*backend, head, *linear, std::vector<float>(kColumns, std::nanf(""))), 0) << backend->name();
    }
  }
}

// What a bound is made of, in double, from a row's codes and the rounded inputs.
struct Parts {
  double product = 0, high = 0, variance = 0;
  double rounding = 0;  // what the sum of a block may begin with too much or too little: half of a whole number
  double bound() const { return high + HighBits::kDeviations * std::sqrt(variance); }
};

// An input rounded as the kernels of an instruction set leave it for one token.
struct RoundedInput {
  RoundedInput(const LinearKernels& kernels, std::vector<float> x, const WeightFormat& format)
      : codes(x.size()), scales(x.size() / 32), sums(x.size() / 32), starts(x.size() / 32) {
    const RoundedRow row{codes.data(), scales.data(), starts.data(), 1};
    kernels.round_row(tensor(x.data(), 1, static_cast<int64_t>(x.size())), format, row, sums.data());
  }
  std::vector<int8_t> codes;
  std::vector<float> scales, sums;
  std::vector<int32_t> starts;
};

Parts parts_of(const std::vector<WeightUnit>& units, int64_t row, const WeightFormat& format, const RoundedInput& in) {
  Parts parts;
  const size_t columns = in.codes.size(), group = static_cast<size_t>(format.group);
  for (size_t c = 0; c < columns; ++c) {
    const WeightUnit& unit = units[static_cast<size_t>(row) * (columns / group) + c / group];
    const double step = to_float(unit.halves[0]) * static_cast<double>(in.scales[c / 32]) * in.codes[c];
    const int code = unit.codes[c % group];
    parts.product += step * (code - 128);
    parts.high += step * (code / 16 * 16 + 7.5 - 128);
    parts.variance += step * step * HighBits::kVariance;
    if (c % 32 == 0) parts.rounding += HighBits::kSize / 2 * to_float(unit.halves[0]) * in.scales[c / 32];
  }
  return parts;
}

// The kernels of every instruction set against the formula, and the formula against what it claims: how far products
// lie from what their high bits say, in deviations, is as good as normal.
TEST(BestRowContract, BoundsAreWhatTheyClaim) {
  constexpr int64_t kRows = 3000 - 5;
  Random random(35);
  for (const WeightFormat& format : kApart) {
    for (const int64_t columns : {128, 896}) {
      std::vector<WeightUnit> units(static_cast<size_t>(kRows * (columns / format.group)));
      for (WeightUnit& unit : units) round_to_nearest(format, normals(random, format.group).data(), unit);
      const WeightSource source = UnitReader([&](int64_t row, int64_t unit, WeightUnit& out) {
        out = units[static_cast<size_t>(row * (columns / format.group) + unit)];
      });
      const auto linear = make_host_linear(
          reference(), {.parts = {{format, kRows}}, .columns = columns}, {&source, 1}, {});
      std::vector<float> x = normals(random, columns);
      for (size_t i = 0; i < x.size(); i += 37) x[i] *= 20;  // as states of models have a few that stand out
      for (const std::string& set : backend_names()) {
        if (set == "reference") continue;
        SCOPED_TRACE(fmt::format("{} g{} {}", set, format.group, columns));
        const LinearKernels& kernels = cpu_linear_kernels(set);
        const RoundedInput in(kernels, x, format);
        std::vector<float> squares(static_cast<size_t>(columns / format.group)), bounds(panels_of(kRows));
        for (size_t c = 0; c < in.codes.size(); ++c) {
          const float value = in.scales[c / 32] * static_cast<float>(in.codes[c]);
          squares[c / static_cast<size_t>(format.group)] += value * value;
        }
        PanelJob job{};
        job.panels = linear->segments().front().panels();
        job.rows = kRows;
        job.tokens = 1;
        job.tile = kernels.tile_tokens(format);
        job.codes = in.codes.data();
        job.scales = in.scales.data();
        job.sums = in.sums.data();
        job.starts = in.starts.data();
        job.squares = squares.data();
        job.out = bounds.data();
        kernels.bound_panels(job, 0, 7);
        kernels.bound_panels(job, 7, panels_of(kRows));
        double mean = 0, square = 0, farthest = 0;
        for (int64_t p = 0; p < panels_of(kRows); ++p) {
          double bound = -HUGE_VAL, off = 0;
          for (int64_t r = p * kPanelRows; r < std::min<int64_t>(kRows, (p + 1) * kPanelRows); ++r) {
            const Parts parts = parts_of(units, r, format, in);
            bound = std::max(bound, parts.bound());
            off = std::max(off, parts.rounding + 1e-5 * std::sqrt(parts.variance));
            const double deviations = (parts.product - parts.high) / std::sqrt(parts.variance);
            mean += deviations / kRows;
            square += deviations * deviations / kRows;
            farthest = std::max(farthest, std::abs(deviations));
          }
          ASSERT_NEAR(bounds[static_cast<size_t>(p)], bound, off) << "panel " << p;
        }
        EXPECT_LT(std::abs(mean), 0.1);  // five standard errors
        EXPECT_NEAR(square, 1, 0.15);
        EXPECT_LT(farthest, 5.5);
      }
    }
  }
}

}  // namespace
}  // namespace kvpareto
