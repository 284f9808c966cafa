// The row of a greedy choice, every backend against its own products; and the bounds by which rows are left out.

#include "backend/contract.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/host_linear.h"

namespace kvpareto {
namespace {

constexpr WeightFormat kApart[] = {{WeightCodec::kInt8Apart, 32},
                                   {WeightCodec::kInt8Apart, 64},
                                   {WeightCodec::kInt8Apart, 128},
                                   {WeightCodec::kQ6KApart, 0}};

std::string name_of(const WeightFormat& format) {
  return fmt::format("{} g{}", info_of(format.codec).name, format.unit());
}

// Numbers of one unit rounded to a format whose planes lie apart.
WeightUnit unit_of(const WeightFormat& format, const float* values) {
  WeightUnit unit{};
  if (is_grouped(format.codec)) {
    round_to_nearest(format, values, unit);
    return unit;
  }
  const int sub = format.sub(), subs = format.unit() / sub, zero = info_of(format.codec).zero;
  const auto largest = [&](int first, int count) {
    const auto sizes = [](float a, float b) { return std::abs(a) < std::abs(b); };
    return std::abs(*std::max_element(values + first, values + first + count, sizes));
  };
  unit.halves[0] = to_f16(largest(0, format.unit()) / 127 / static_cast<float>(zero - 1));
  for (int s = 0; s < subs; ++s) {
    const float one = to_float(unit.halves[0]);
    const float steps = std::ceil(largest(s * sub, sub) / one / static_cast<float>(zero - 1));
    unit.bytes[static_cast<size_t>(s)] = static_cast<uint8_t>(std::min(127.0f, std::max(1.0f, steps)));
    for (int i = s * sub; i < (s + 1) * sub; ++i) {
      const float code =
          std::nearbyint(values[i] / one / unit.bytes[static_cast<size_t>(s)]) + static_cast<float>(zero);
      unit.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(std::clamp(code, 0.0f, 2.0f * zero - 1));
    }
  }
  return unit;
}

struct Head {
  LinearSpec spec;
  std::vector<float> values;

  const WeightFormat& format() const { return spec.parts.front().format; }
  WeightUnit unit(int64_t row, int64_t u) const {
    return unit_of(format(), values.data() + row * spec.columns + u * format().unit());
  }
};

Head random_head(Random& random, const WeightFormat& format, int64_t rows, int64_t columns,
                 Activations activations = Activations::kInt8) {
  return {{.parts = {{format, rows}}, .columns = columns, .activations = activations},
          normals(random, rows * columns, 0.02)};
}

std::unique_ptr<Linear> make(Backend& backend, const Head& head) {
  const WeightSource units =
      UnitReader([&](int64_t row, int64_t unit, WeightUnit& out) { out = head.unit(row, unit); });
  const WeightSource rows = RowReader([&](int64_t begin, int64_t count, float* out) {
    std::copy_n(head.values.data() + begin * head.spec.columns, count * head.spec.columns, out);
  });
  return backend.make_linear(head.spec, {is_apart(head.format().codec) ? &units : &rows, 1}, {});
}

int64_t best_row(Backend& backend, const Head& head, const Linear& linear, const std::vector<float>& x) {
  Matrix in(backend.activation(), 1, head.spec.columns, 0, x), products(DType::kF32, 1, linear.rows());
  GuardedScratch scratch(backend.linear_scratch_bytes(1, head.spec));
  const int64_t row = backend.best_row(linear, in.view(), products.view(), scratch.view());
  EXPECT_TRUE(scratch.guard_is_untouched()) << "more scratch used than stated";
  return row;
}

std::vector<std::vector<float>> some_inputs(Random& random, int64_t columns) {
  std::vector<std::vector<float>> inputs(4);
  for (auto& x : inputs) x = rounded_to_bf16(normals(random, columns));
  return inputs;
}

void expect_largest(const Head& head, const std::vector<std::vector<float>>& inputs) {
  for (const auto& backend : tested()) {
    SCOPED_TRACE(
        fmt::format("{} {} {}x{}", backend->name(), name_of(head.format()), head.spec.rows(), head.spec.columns));
    const auto linear = make(*backend, head);
    EXPECT_LE(backend->best_row_bytes(*linear), linear->bytes());
    for (const std::vector<float>& x : inputs) {
      Matrix in(backend->activation(), 1, head.spec.columns, 0, x), out(DType::kF32, 1, head.spec.rows());
      GuardedScratch scratch(backend->linear_scratch_bytes(1, head.spec));
      backend->linear(*linear, in.view(), out.view(), false, scratch.view());
      const std::vector<float> products = out.values();
      EXPECT_EQ(best_row(*backend, head, *linear, x),
                std::max_element(products.begin(), products.end()) - products.begin());
    }
  }
}

TEST(BestRowContract, IsTheLargestOfAllProducts) {
  Random random(31);
  std::vector<WeightFormat> formats(std::begin(kApart), std::end(kApart));
  formats.insert(formats.end(), {{}, {WeightCodec::kInt8, 64}, {WeightCodec::kInt4, 32}});
  for (const WeightFormat& format : formats) {
    for (const int64_t rows : {1, 15, 40, 1000}) {
      for (const int64_t columns : {256, 768}) {
        const Head head = random_head(random, format, rows, columns);
        expect_largest(head, some_inputs(random, columns));
      }
    }
  }
}

TEST(BestRowContract, InputsThatAreNotRoundedToo) {
  Random random(32);
  for (const WeightFormat& format : kApart) {
    const Head head = random_head(random, format, 700, 256, Activations::kFloat);
    expect_largest(head, some_inputs(random, 256));
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
    expect_largest(head, some_inputs(random, kColumns));
  }
}

TEST(BestRowContract, OfEqualRowsTheFirst) {
  constexpr int64_t kRows = 200, kColumns = 256;
  Random random(34);
  for (const WeightFormat& format : {kApart[2], kApart[3], WeightFormat()}) {
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
      : codes(x.size()), scales(x.size() / 32), sums(x.size() / 16), starts(x.size() / 16) {
    const RoundedRow row{codes.data(), scales.data(), starts.data(), 1};
    kernels.round_row(tensor(x.data(), 1, static_cast<int64_t>(x.size())), format, row, sums.data());
  }
  std::vector<int8_t> codes;
  std::vector<float> scales, sums;
  std::vector<int32_t> starts;
};

Parts parts_of(const Head& head, int64_t row, const RoundedInput& in) {
  Parts parts;
  const WeightFormat& format = head.format();
  const WeightCodecInfo& info = info_of(format.codec);
  const int size = 1 << info.low_bits, sub = format.sub();
  WeightUnit unit;
  float scale = 0, offset;
  for (int64_t c = 0; c < head.spec.columns; ++c) {
    const auto inside = static_cast<int>(c % format.unit());
    if (inside == 0) unit = head.unit(row, c / format.unit());
    if (c % sub == 0) read_scale(format.codec, unit.halves.data(), unit.bytes.data(), 1, inside / sub, scale, offset);
    const double of_input = in.scales[static_cast<size_t>(c / 32)],
                 step = scale * of_input * in.codes[static_cast<size_t>(c)];
    const int code = unit.codes[static_cast<size_t>(inside)];
    parts.product += step * (code - info.zero);
    parts.high += step * (code / size * size + (size - 1) / 2.0 - info.zero);
    parts.variance += step * step * (size * size - 1) / 12;
    if (c % std::min(32, sub) == 0) parts.rounding += size / 2.0 * scale * of_input;
  }
  return parts;
}

// The kernels of every instruction set against the formula, and the formula against what it claims: how far products
// lie from what their high bits say, in deviations, is as good as normal.
TEST(BestRowContract, BoundsAreWhatTheyClaim) {
  constexpr int64_t kRows = 3000 - 5;
  Random random(35);
  for (const WeightFormat& format : kApart) {
    for (const int64_t columns : {256, 768}) {
      const Head head = random_head(random, format, kRows, columns);
      const auto linear = make(reference(), head);
      std::vector<float> x = normals(random, columns);
      for (size_t i = 0; i < x.size(); i += 37) x[i] *= 20;  // as states of models have a few that stand out
      const RoundedInput plain(plain_linear_kernels(), x, format);
      std::vector<Parts> parts;
      for (int64_t r = 0; r < kRows; ++r) parts.push_back(parts_of(head, r, plain));
      double mean = 0, square = 0, farthest = 0;
      for (const Parts& row : parts) {
        const double deviations = (row.product - row.high) / std::sqrt(row.variance);
        mean += deviations / kRows;
        square += deviations * deviations / kRows;
        farthest = std::max(farthest, std::abs(deviations));
      }
      EXPECT_LT(std::abs(mean), 0.1) << name_of(format);  // five standard errors
      EXPECT_NEAR(square, 1, 0.15) << name_of(format);
      EXPECT_LT(farthest, 5.5) << name_of(format);
      for (const std::string& set : backend_names()) {
        if (set == "reference") continue;
        SCOPED_TRACE(fmt::format("{} {} {}", set, name_of(format), columns));
        const LinearKernels& kernels = cpu_linear_kernels(set);
        const RoundedInput in(kernels, x, format);
        std::vector<float> squares(static_cast<size_t>(columns / format.sub())), bounds(2 * panels_of(kRows));
        for (size_t c = 0; c < in.codes.size(); ++c) {
          const float value = in.scales[c / 32] * static_cast<float>(in.codes[c]);
          squares[c / static_cast<size_t>(format.sub())] += value * value;
        }
        PanelJob job{};
        job.panels = static_cast<const HostLinear&>(*linear).segments().front().panels();
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
        for (int64_t p = 0; p < panels_of(kRows); ++p) {
          double bound = -HUGE_VAL, likely = -HUGE_VAL, off = 0;
          for (int64_t r = p * kPanelRows; r < std::min<int64_t>(kRows, (p + 1) * kPanelRows); ++r) {
            const Parts& row = parts[static_cast<size_t>(r)];
            bound = std::max(bound, row.bound());
            likely = std::max(likely, row.high);
            off = std::max(off, row.rounding + 1e-5 * std::sqrt(row.variance));
          }
          ASSERT_NEAR(bounds[static_cast<size_t>(2 * p)], bound, off) << "panel " << p;
          ASSERT_NEAR(bounds[static_cast<size_t>(2 * p + 1)], likely, off) << "panel " << p;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvpareto
