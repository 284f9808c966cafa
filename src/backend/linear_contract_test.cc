// Products of every backend of this machine against reference, on the same cases: weights of every format, inputs
// rounded to int8 or not.

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <limits>

#include "backend/contract.h"
#include "base/parallel.h"
#include "quant/gguf_blocks.h"
#include "quant/weight_panel.h"

namespace kvpareto {
namespace {

struct LinearCase {
  int64_t rows, columns, tokens;
  bool bias, accumulate;
  // The decoder's results stand row on row; the interface allows gaps.
  int64_t gap() const { return (tokens + rows) % 3 == 0 ? 24 : 0; }
};

// A weight to be made on any backend.
struct Weight {
  LinearSpec spec;
  std::vector<WeightSource> sources;
  std::vector<float> bias;
};

std::vector<float> product(Backend& backend, const Weight& weight, const LinearCase& c, const std::vector<float>& x,
                           const std::vector<float>& before) {
  const auto linear = backend.make_linear(weight.spec, weight.sources, weight.bias);
  EXPECT_EQ(linear->rows(), c.rows);
  EXPECT_EQ(linear->columns(), c.columns);
  EXPECT_EQ(linear->bytes(), backend.linear_bytes(weight.spec));
  Matrix in(backend.activation(), c.tokens, c.columns, 0, x), out(DType::kF32, c.tokens, c.rows, c.gap(), before);
  GuardedScratch scratch(backend.linear_scratch_bytes(c.tokens, weight.spec));
  backend.linear(*linear, in.view(), out.view(), c.accumulate, scratch.view());
  EXPECT_TRUE(out.gaps_are_untouched());
  EXPECT_TRUE(scratch.guard_is_untouched()) << "more scratch used than stated";
  return out.values();
}

RowReader rows_of(const std::vector<float>& values, int64_t columns) {
  return [&values, columns](int64_t begin, int64_t count, float* out) {
    std::copy_n(&values[static_cast<size_t>(begin * columns)], count * columns, out);
  };
}

std::vector<float> magnitudes(std::vector<float> values) {
  for (float& x : values) x = std::abs(x);
  return values;
}

Weight bf16_weight(const LinearCase& c, const std::vector<float>& values, const std::vector<float>& bias) {
  return {bf16_spec(c.rows, c.columns, c.bias), {rows_of(values, c.columns)}, c.bias ? bias : std::vector<float>()};
}

void check_bf16(const LinearCase& c) {
  Random random(static_cast<uint64_t>(c.rows * 1000 + c.columns + c.tokens));
  // Weights and x are what bf16 holds, so that every backend multiplies the same numbers and only its sums differ.
  const std::vector<float> weight = rounded_to_bf16(normals(random, c.rows * c.columns)),
                           bias = normals(random, c.rows, 3);
  const std::vector<float> x = rounded_to_bf16(normals(random, c.tokens * c.columns)),
                           before = normals(random, c.tokens * c.rows);
  const std::vector<float> wanted = product(reference(), bf16_weight(c, weight, bias), c, x, before);
  // Sums of magnitudes: what the rounding errors of each sum are relative to.
  const std::vector<float> sizes =
      product(reference(), bf16_weight(c, magnitudes(weight), magnitudes(bias)), c, magnitudes(x), magnitudes(before));
  for (const auto& backend : tested()) {
    SCOPED_TRACE(fmt::format("{} {}x{}, {} tokens{}{}", backend->name(), c.rows, c.columns, c.tokens,
                             c.bias ? ", bias" : "", c.accumulate ? ", accumulate" : ""));
    expect_close(product(*backend, bf16_weight(c, weight, bias), c, x, before), wanted,
                 [&](size_t i) { return sizes[i] * (sum_error(static_cast<double>(c.columns)) + 4 * kF32Unit); });
  }
}

constexpr int64_t kTokenCounts[] = {1, 3, 7, 8, 15, 16, 17, 33, 100};

TEST(LinearContract, SmallShapesInEveryWay) {
  int turn = 0;
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{48, 16}, {272, 80}, {101, 48}}) {
    for (const int way : {0, 1, 2, 3}) {
      for (const int64_t tokens : {3, 17}) check_bf16({rows, columns, tokens, (way & 1) != 0, (way & 2) != 0});
    }
    for (const int64_t tokens : kTokenCounts) {
      const int way = turn++;
      check_bf16({rows, columns, tokens, (way & 1) != 0, (way & 2) != 0});
    }
  }
}

TEST(LinearContract, ShapesOfModels) {
  for (const int64_t tokens : kTokenCounts) {
    check_bf16({576, 960, tokens, tokens % 2 == 0, tokens % 4 == 1});
    check_bf16({896, 144, tokens, tokens % 2 == 1, tokens % 4 == 3});
  }
}

// On so many threads oneDNN asks for more scratch between two powers of two than at either.
TEST(LinearContract, ManyThreads) {
  const int before = thread_count();
  set_thread_count(64);
  for (const int64_t tokens : {17, 23, 100}) check_bf16({1152, 896, tokens, false, true});
  set_thread_count(before);
}

TEST(LinearContract, ScratchForMoreTokensHoldsFewer) {
  for (const auto& backend : tested()) {
    for (const WeightFormat& format : {WeightFormat(), WeightFormat{WeightCodec::kInt4, 64}}) {
      for (const Activations activations : {Activations::kInt8, Activations::kFloat}) {
        const LinearSpec spec{.parts = {{format, 576}}, .columns = 192, .bias = false, .activations = activations};
        size_t before = 0;
        for (int64_t tokens = 1; tokens <= 300; ++tokens) {
          const size_t bytes = backend->linear_scratch_bytes(tokens, spec);
          ASSERT_GE(bytes, before) << backend->name() << " at " << tokens;
          before = bytes;
        }
      }
    }
  }
}

// --- weights of few bits

std::vector<WeightFormat> quantized_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightCodecInfo& info : kWeightCodecs) {
    if (info.codec == WeightCodec::kBf16) continue;
    if (is_grouped(info.codec)) {
      for (const int group : {32, 64, 128}) formats.push_back({info.codec, group});
    } else {
      formats.push_back({info.codec, 0});
    }
  }
  return formats;
}

std::string name_of(const WeightFormat& format) {
  return fmt::format("{}{}{}", info_of(format.codec).name, format.group > 0 ? fmt::format("g{}", format.group) : "",
                     is_apart(format.codec) ? " apart" : "");
}

// Rows of codes as an AWQ checkpoint or a file would hold them, all of them possible: numbers of size 1 and less.
std::vector<WeightUnit> random_units(Random& random, const WeightFormat& format, int64_t count) {
  std::vector<WeightUnit> units(static_cast<size_t>(count));
  const int codes = 1 << format.bits();
  for (WeightUnit& unit : units) {
    for (uint8_t& code : unit.codes) code = static_cast<uint8_t>(random.below(static_cast<uint64_t>(codes)));
    for (uint8_t& byte : unit.bytes) byte = static_cast<uint8_t>(random.below(256));
    if (is_grouped(format.codec)) unit.bytes[0] = static_cast<uint8_t>(random.below(static_cast<uint64_t>(codes)));
    const double largest = codes * (format.sub() < format.unit() ? 64 : 1);
    unit.halves[0] = to_f16(static_cast<float>((0.5 + random.uniform()) / largest));
    unit.halves[1] = to_f16(static_cast<float>(-random.uniform() / (format.sub() < format.unit() ? -64 : 1)));
  }
  return units;
}

WeightSource units_of(const std::vector<WeightUnit>& units, int64_t units_a_row) {
  return UnitReader([&units, units_a_row](int64_t row, int64_t unit, WeightUnit& out) {
    out = units[static_cast<size_t>(row * units_a_row + unit)];
  });
}

// Every row of a weight as numbers, by way of the embedding.
std::vector<float> decoded(Backend& backend, const Weight& weight) {
  const auto linear = backend.make_linear(weight.spec, weight.sources, weight.bias);
  std::vector<int32_t> tokens(static_cast<size_t>(weight.spec.rows()));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  Matrix out(DType::kF32, weight.spec.rows(), weight.spec.columns, 8);
  backend.embed(*linear, tokens, out.view());
  EXPECT_TRUE(out.gaps_are_untouched());
  return out.values();
}

// Codes times scales and sums times offsets are added one after another; both are below 1.6 by random_units(), four
// times that for the factors of Q6_K. A block of 32 products of int8 is exact.
void check_quantized(const LinearCase& c, const WeightFormat& format, Activations activations) {
  Random random(static_cast<uint64_t>(c.rows * 1000 + c.columns + c.tokens));
  const int64_t units_a_row = c.columns / format.unit();
  const std::vector<WeightUnit> units = random_units(random, format, c.rows * units_a_row);
  const std::vector<float> bias = normals(random, c.rows, 3);
  const std::vector<float> x = rounded_to_bf16(normals(random, c.tokens * c.columns)),
                           before = normals(random, c.tokens * c.rows);
  Weight weight{{.parts = {{format, c.rows}}, .columns = c.columns, .bias = c.bias, .activations = activations},
                {units_of(units, units_a_row)},
                c.bias ? bias : std::vector<float>()};
  Weight unrounded = weight;
  unrounded.spec.activations = Activations::kFloat;
  const std::vector<float> exact = product(reference(), unrounded, c, x, before),
                           rounded = product(reference(), weight, c, x, before);
  for (const auto& backend : tested()) {
    const bool rounds = backend->rounds_inputs(c.tokens, weight.spec);
    const std::vector<float>& wanted = rounds ? rounded : exact;
    const double terms = static_cast<double>(rounds ? c.columns / 16 : c.columns);
    SCOPED_TRACE(fmt::format("{} {} {}x{}, {} tokens{}{}{}", backend->name(), name_of(format), c.rows, c.columns,
                             c.tokens, c.bias ? ", bias" : "", c.accumulate ? ", accumulate" : "",
                             activations == Activations::kInt8 ? ", int8 inputs" : ""));
    // With bf16 activations the weight is rounded to bf16 too where many rows are multiplied.
    const bool narrow = backend->activation() == DType::kBf16 && !rounds && c.tokens >= 16;
    expect_close(product(*backend, weight, c, x, before), wanted, [&](size_t i) {
      double size = 0;
      const size_t token = i / static_cast<size_t>(c.rows);
      for (int64_t k = 0; k < c.columns; ++k)
        size += std::abs(x[token * static_cast<size_t>(c.columns) + static_cast<size_t>(k)]);
      const double largest = format.codec == WeightCodec::kQ6K ? 8 : 2;
      return largest * size * (sum_error(terms) + 4 * kF32Unit + (narrow ? kBf16Unit / 16 : 0)) +
             std::abs(before[i]) * kF32Unit + 16 * kF32Unit;
    });
  }
}

TEST(QuantizedLinearContract, SmallShapesInEveryWay) {
  int turn = 0;
  for (const WeightFormat& format : quantized_formats()) {
    for (const Activations activations : {Activations::kInt8, Activations::kFloat}) {
      for (const int64_t tokens : {1, 2, 5, 6, 7, 16, 31}) {
        const int way = turn++;
        check_quantized({way % 3 == 0 ? 40 : 32, 256, tokens, (way & 1) != 0, (way & 2) != 0}, format, activations);
      }
    }
  }
}

TEST(QuantizedLinearContract, SlicesAndPiecesOfManyTokens) {
  for (const WeightFormat& format : quantized_formats()) {
    for (const Activations activations : {Activations::kInt8, Activations::kFloat}) {
      check_quantized({48, 1024 + 256, 3, true, false}, format, activations);
      check_quantized({272, 1024 + 512, 19, false, true}, format, activations);
    }
    check_quantized({16, 256, 300, true, true}, format, Activations::kInt8);
  }
}

// What is no number in one block of a token's inputs is none in any of its results, and in no other token's; inputs too
// small to have an inverse count as zero.
TEST(QuantizedLinearContract, InputsThatAreNoNumbersSpoilTheirTokenAlone) {
  constexpr int64_t kRows = 48, kColumns = 256, kTokens = 20;
  Random random(12);
  for (const WeightFormat& format : quantized_formats()) {
    const int64_t units_a_row = kColumns / format.unit();
    const std::vector<WeightUnit> units = random_units(random, format, kRows * units_a_row);
    const Weight weight{{.parts = {{format, kRows}}, .columns = kColumns}, {units_of(units, units_a_row)}, {}};
    std::vector<float> x = rounded_to_bf16(normals(random, kTokens * kColumns));
    const float wrong[] = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()};
    for (int i = 0; i < 3; ++i) x[static_cast<size_t>((3 + 5 * i) * kColumns + 33 + 60 * i)] = wrong[i];
    std::fill_n(x.begin() + 2 * kColumns, kColumns, 1e-35f);
    for (const int64_t tokens : {int64_t{1}, kTokens}) {
      const LinearCase c{kRows, kColumns, tokens, false, false};
      const int64_t first = tokens == 1 ? 3 : 0;  // the one alone is spoiled
      const std::vector<float> in(x.begin() + first * kColumns, x.begin() + (first + tokens) * kColumns);
      for (const auto& backend : tested()) {
        SCOPED_TRACE(fmt::format("{} {} {} tokens", backend->name(), name_of(format), tokens));
        const std::vector<float> out = product(*backend, weight, c, in, std::vector<float>(tokens * kRows));
        for (int64_t t = 0; t < tokens; ++t) {
          const bool spoiled = first + t == 3 || first + t == 8 || first + t == 13;
          for (int64_t r = 0; r < kRows; ++r) {
            const float value = out[static_cast<size_t>(t * kRows + r)];
            ASSERT_EQ(std::isfinite(value), !spoiled) << t << " " << r;
            ASSERT_TRUE(t != 2 || std::abs(value) < 1e-30f) << r;
          }
        }
      }
    }
  }
}

TEST(QuantizedLinearContract, CodesAreKeptBitForBit) {
  for (const WeightFormat& format : quantized_formats()) {
    Random random(5);
    constexpr int64_t kRows = 35, kColumns = 512;
    const int64_t units_a_row = kColumns / format.unit();
    const std::vector<WeightUnit> units = random_units(random, format, kRows * units_a_row);
    const Weight weight{{.parts = {{format, kRows}}, .columns = kColumns}, {units_of(units, units_a_row)}, {}};
    std::vector<float> wanted;
    for (const WeightUnit& unit : units) {
      for (int i = 0; i < format.unit(); ++i) {
        float scale, offset;
        read_scale(format.codec, unit.halves.data(), unit.bytes.data(), 1, i / format.sub(), scale, offset);
        wanted.push_back(scale * static_cast<float>(unit.codes[static_cast<size_t>(i)]) - offset);
      }
    }
    for (const std::string& name : backend_names()) {
      EXPECT_EQ(decoded(*make_backend(name), weight), wanted) << name << " " << name_of(format);
    }
  }
}

TEST(QuantizedLinearContract, BlocksOfAFileAreTheNumbersTheyAre) {
  for (const GgufBlockFormat& blocks : gguf_block_formats()) {
    const auto info = std::ranges::find(kWeightCodecs, blocks.name, &WeightCodecInfo::name);
    if (info == kWeightCodecs.end()) continue;
    SCOPED_TRACE(std::string(blocks.name));
    const WeightFormat format{info->codec, 0};
    ASSERT_EQ(block_bytes(format), static_cast<size_t>(blocks.bytes));
    constexpr int64_t kRows = 20, kColumns = 512;
    const size_t row_bytes = static_cast<size_t>(kColumns / blocks.values * blocks.bytes);
    Random random(6);
    std::vector<uint8_t> bytes(kRows * row_bytes);
    std::vector<float> wanted(kRows * kColumns);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.below(256) & 0xbf);  // no f16 that is not finite
    blocks.decode(bytes.data(), kRows * kColumns / blocks.values, wanted.data());
    const Weight weight{{.parts = {{format, kRows}}, .columns = kColumns},
                        {BlockReader([&](int64_t row) { return bytes.data() + static_cast<size_t>(row) * row_bytes; })},
                        {}};
    EXPECT_EQ(reference().linear_bytes(weight.spec), Backend::padded(32 * row_bytes)) << "rows fill two panels";
    const std::vector<float> found = decoded(reference(), weight);
    for (size_t i = 0; i < wanted.size(); ++i) {
      // scale * code - scale * zero instead of scale * (code - zero)
      ASSERT_NEAR(found[i], wanted[i], 260 * kF32Unit * (std::abs(wanted[i]) + 2 * 32)) << i;
    }
  }
}

// gated() of every backend against linear() of reference and the gate in double.
void check_gated(const Weight& weight, int64_t tokens, Random& random) {
  const LinearCase c{weight.spec.rows(), weight.spec.columns, tokens, weight.spec.bias, false};
  const int64_t n = c.rows / 2;
  const std::vector<float> x = rounded_to_bf16(normals(random, tokens * c.columns)),
                           zeros(static_cast<size_t>(tokens * c.rows));
  Weight unrounded = weight;
  unrounded.spec.activations = Activations::kFloat;
  const std::vector<float> exact = product(reference(), unrounded, c, x, zeros),
                           rounded = product(reference(), weight, c, x, zeros);
  std::vector<float> largest = magnitudes(decoded(reference(), weight));
  // Codes times scales and offsets are added one after another, each below 1.6 by random_units().
  const bool packed = weight.spec.parts.front().format.codec != WeightCodec::kBf16;
  if (packed && weight.spec.activations == Activations::kInt8) std::ranges::fill(largest, 2.0f);
  const Weight sizes{bf16_spec(c.rows, c.columns, c.bias), {rows_of(largest, c.columns)}, magnitudes(weight.bias)};
  const std::vector<float> summed = product(reference(), sizes, c, magnitudes(x), zeros);
  for (const auto& backend : tested()) {
    SCOPED_TRACE(fmt::format("{} {}x{}, {} tokens, {} parts", backend->name(), c.rows, c.columns, tokens,
                             weight.spec.parts.size()));
    const DType type = backend->activation();
    const bool rounds = backend->rounds_inputs(tokens, weight.spec);
    const std::vector<float>& both = rounds ? rounded : exact;
    const auto linear = backend->make_linear(weight.spec, weight.sources, weight.bias);
    Matrix in(type, tokens, c.columns, 0, x), out(type, tokens, n, 0);
    GuardedScratch scratch(backend->gated_scratch_bytes(tokens, weight.spec));
    backend->gated(*linear, in.view(), out.view(), scratch.view());
    EXPECT_TRUE(scratch.guard_is_untouched()) << "more scratch used than stated";
    // Of a sum: rounding in f32, and of weights that are widened to bf16.
    const double unit = sum_error(static_cast<double>(c.columns)) + 4 * kF32Unit +
                        (packed && !rounds && type == DType::kBf16 ? kBf16Unit / 2 : 0);
    const auto place = [&](size_t i) {
      return i / static_cast<size_t>(n) * 2 * static_cast<size_t>(n) + i % static_cast<size_t>(n);
    };
    std::vector<float> wanted;
    for (size_t i = 0; i < static_cast<size_t>(tokens * n); ++i) {
      const double gate = both[place(i)], up = both[place(i) + static_cast<size_t>(n)];
      wanted.push_back(static_cast<float>(gate / (1 + std::exp(-gate)) * up));
    }
    expect_close(out.values(), wanted, [&](size_t i) {
      const double gate = both[place(i)], up = both[place(i) + static_cast<size_t>(n)];
      const double gate_error = summed[place(i)] * unit, up_error = summed[place(i) + static_cast<size_t>(n)] * unit;
      // silu is nowhere steeper than 1.1.
      return 1.1 * gate_error * (std::abs(up) + up_error) + std::abs(gate) * up_error +
             8 * kF32Unit * std::abs(wanted[i]) + storing_error(type, wanted[i]);
    });
  }
}

// Gate and up in one part or in formats of their own, in sizes that the fused kernel takes and others.
TEST(GatedContract, IsTheProductAndTheGate) {
  Random random(11);
  const WeightFormat int4{WeightCodec::kInt4, 64};
  for (const int64_t n : {32, 48, 80, 96, 176}) {
    for (const int64_t columns : {256, 1280}) {
      const std::vector<float> values = rounded_to_bf16(normals(random, 2 * n * columns, 0.0625));
      const std::vector<WeightUnit> units = random_units(random, int4, n * columns / 64);
      std::vector<float> bias = normals(random, 2 * n);
      std::copy_n(std::to_array({-1e30F, -200.0F, -88.0F, 200.0F}).begin(), 4, bias.begin());
      const Weight one{bf16_spec(2 * n, columns, false), {rows_of(values, columns)}, {}};
      const Weight two{
          {.parts = {{int4, n}, {{}, n}}, .columns = columns, .bias = true, .activations = Activations::kFloat},
          {units_of(units, columns / 64), rows_of(values, columns)},
          bias};
      const std::vector<WeightUnit> all = random_units(random, int4, 2 * n * columns / 64);
      const Weight whole{
          {.parts = {{int4, 2 * n}}, .columns = columns, .bias = true, .activations = Activations::kInt8},
          {units_of(all, columns / 64)},
          bias};
      for (const int64_t tokens : {1, 15, 16, 47, 600}) {
        check_gated(one, tokens, random);
        check_gated(two, tokens, random);
        check_gated(whole, tokens, random);
      }
    }
  }
}

// Parts of different formats one below the other, as the q, k and v of a file may be.
TEST(QuantizedLinearContract, PartsOfDifferentFormats) {
  Random random(7);
  constexpr int64_t kColumns = 256, kTokens = 18;
  const std::vector<WeightFormat> formats = {
      {WeightCodec::kQ5_0, 0}, {}, {WeightCodec::kQ6K, 0}, {WeightCodec::kInt4, 64}};
  std::vector<std::vector<WeightUnit>> units(formats.size());
  const std::vector<float> values = rounded_to_bf16(normals(random, 48 * kColumns));
  Weight weight{{.parts = {}, .columns = kColumns, .bias = true}, {}, normals(random, 4 * 48)};
  for (size_t i = 0; i < formats.size(); ++i) {
    weight.spec.parts.push_back({formats[i], 48});
    if (formats[i].codec == WeightCodec::kBf16) {
      weight.sources.emplace_back(rows_of(values, kColumns));
    } else {
      units[i] = random_units(random, formats[i], 48 * kColumns / formats[i].unit());
      weight.sources.push_back(units_of(units[i], kColumns / formats[i].unit()));
    }
  }
  const LinearCase c{4 * 48, kColumns, kTokens, true, false};
  const std::vector<float> x = rounded_to_bf16(normals(random, kTokens * kColumns)), before(kTokens * 4 * 48);
  Weight unrounded = weight;
  unrounded.spec.activations = Activations::kFloat;
  const std::vector<float> exact = product(reference(), unrounded, c, x, before),
                           rounded = product(reference(), weight, c, x, before);
  for (const auto& backend : tested()) {
    SCOPED_TRACE(backend->name());
    const bool rounds = backend->rounds_inputs(kTokens, weight.spec);
    const bool narrow = backend->activation() == DType::kBf16 && !rounds;
    const std::vector<float>& wanted = rounds ? rounded : exact;
    expect_close(product(*backend, weight, c, x, before), wanted,
                 [&](size_t) { return 8 * kColumns * (sum_error(kColumns) + (narrow ? kBf16Unit / 16 : 0)); });
  }
}

}  // namespace
}  // namespace kvpareto
