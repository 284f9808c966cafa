// A layer of the tiny checkpoints, from numbers to codes.

#include "awq/quantize_layer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "base/testing.h"
#include "model/testing.h"

namespace kvpareto {
namespace {

Backend& backend() {
  static const std::unique_ptr<Backend> made = make_backend("auto");
  return *made;
}

Calibration random_tokens(int vocabulary, uint64_t seed, int sequences = 6) {
  Random random(seed);
  Calibration calibration{{}, "random tokens"};
  for (int i = 0; i < sequences; ++i) {
    auto& tokens = calibration.sequences.emplace_back();
    for (int t = 0; t < 48; ++t)
      tokens.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
  }
  return calibration;
}

std::vector<float> sixteen_bits(CalibrationRun& run) {
  const std::span<float> both = run.states();
  return {both.begin(), both.begin() + static_cast<int64_t>(both.size() / 2)};
}
std::vector<float> quantized(CalibrationRun& run) {
  const std::span<float> both = run.states();
  return {both.begin() + static_cast<int64_t>(both.size() / 2), both.end()};
}

// The residual stream behind layer 0 made of these matrices.
std::vector<float> through(const LayerMatrices& layer, const Checkpoint& file, const ModelShape& shape,
                           const Calibration& calibration) {
  CalibrationRun run(file, backend(), shape, calibration);
  run.begin_layer(layer);
  return sixteen_bits(run);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(sum / size);
}

TEST(CalibrationRun, GivesWhatTheModelGives) {
  for (const char* name : kTinyModels) {
    SCOPED_TRACE(name);
    const auto file = open_tiny(name);
    const ModelShape shape = read_shape(*file);
    const Calibration calibration = random_tokens(shape.vocabulary, 1);
    CalibrationRun run(*file, backend(), shape, calibration);
    for (int layer = 0; layer < shape.layers; ++layer) {
      const LayerMatrices matrices = read_layer(*file, shape, layer);
      run.begin_layer(matrices);
      run.end_layer(matrices);
    }
    EXPECT_EQ(sixteen_bits(run), quantized(run));

    const Model model = load_tiny(name, backend());
    const int length = 48;
    KvCache cache(backend(), KvScheme(), shape.cache_shape(length, length));
    const Buffer scratch =
        backend().allocate(workspace_bytes(shape, model.weights, backend(), length, length), Purpose::kScratch);
    const Workspace work = plan_workspace(model, length, length, scratch.data());
    const Stretch stretch{&cache, length};
    decode_step(model, calibration.sequences.front(), {&stretch, 1}, work);
    const std::vector<float> wanted(work.residual.as<float>(), work.residual.as<float>() + length * shape.hidden);
    const std::vector<float> got(run.states().begin(), run.states().begin() + length * shape.hidden);
    // Sums of products in another order, which bf16 activations may round the other way.
    EXPECT_LT(distance(got, wanted), backend().activation() == DType::kF32 ? 1e-5 : 5e-3);
  }
}

TEST(FoldScales, ChangesTheLayerByRoundingAlone) {
  for (const char* name : kTinyModels) {
    SCOPED_TRACE(name);
    const auto file = open_tiny(name);
    const ModelShape shape = read_shape(*file);
    const Calibration calibration = random_tokens(shape.vocabulary, 2);
    const LayerMatrices layer = read_layer(*file, shape, 0);
    const std::vector<float> wanted = through(layer, *file, shape, calibration);
    Random random(3);
    for (const LinearKind kind : {LinearKind::kQkv, LinearKind::kOutput, LinearKind::kGateUp, LinearKind::kDown}) {
      LayerMatrices folded = layer;
      const Part part = kind == LinearKind::kQkv      ? Part::kQuery
                        : kind == LinearKind::kOutput ? Part::kOutput
                        : kind == LinearKind::kGateUp ? Part::kGate
                                                      : Part::kDown;
      std::vector<float> logs(static_cast<size_t>(layer.at(part).columns));
      for (float& value : logs) value = static_cast<float>(random.normal());
      tie_shared_channels(kind, shape, logs);
      for (float& value : logs) value = std::exp(value);
      fold_scales(folded, kind, logs, shape);
      // Scaled weights are rounded to bf16 at other places.
      EXPECT_LT(distance(through(folded, *file, shape, calibration), wanted), 0.02)
          << kLinearKinds[static_cast<int>(kind)];
      // Scales that are not folded away show.
      LayerMatrices wrong = layer;
      for (size_t i = 0; i < kParts; ++i) {
        if (kPartInfos[i].kind == kind) wrong.parts[i] = folded.parts[i];
      }
      EXPECT_GT(distance(through(wrong, *file, shape, calibration), wanted), 0.1)
          << kLinearKinds[static_cast<int>(kind)];
    }
  }
}

TEST(QuantizeLayer, LowersTheErrorOnTokensNeverSeen) {
  for (const char* name : kTinyModels) {
    const auto file = open_tiny(name);
    const ModelShape shape = read_shape(*file);
    const LayerMatrices layer = read_layer(*file, shape, 0);
    const Calibration seen = random_tokens(shape.vocabulary, 4, 40), unseen = random_tokens(shape.vocabulary, 5);
    const std::vector<float> wanted = through(layer, *file, shape, unseen);
    for (const std::string_view kind : kLinearKinds) {
      const WeightScheme scheme = parse_weights(fmt::format("w16,{}:w3g32", kind));
      const auto error_with = [&](const QuantizeOptions& options) {
        CalibrationRun run(*file, backend(), shape, seen);
        const QuantizedLayer quantized = quantize_layer(layer, &run, 0, scheme, shape, backend(), options);
        return distance(through(quantized.rounded_matrices(), *file, shape, unseen), wanted);
      };
      const double plain = error_with({.method = Method::kNearest});
      EXPECT_LT(error_with({}), 0.95 * plain) << name << " " << kind;
    }
  }
}

TEST(CalibrationRun, NothingDriftsBeforeAnythingIsRounded) {
  const auto file = open_tiny("tiny-qwen2");
  const ModelShape shape = read_shape(*file);
  const LayerMatrices layer = read_layer(*file, shape, 0);
  CalibrationRun run(*file, backend(), shape, random_tokens(shape.vocabulary, 7));
  run.begin_layer(layer);
  for (const LinearKind kind : {LinearKind::kQkv, LinearKind::kOutput, LinearKind::kGateUp, LinearKind::kDown}) {
    Moments moments = run.moments(kind, layer);
    EXPECT_EQ(moments.inputs.columns(), layer
                                            .parts[kind == LinearKind::kQkv      ? 0
                                                   : kind == LinearKind::kOutput ? 3
                                                   : kind == LinearKind::kGateUp ? 4
                                                                                 : 6]
                                            .columns);
    for (const float value : moments.drift.take_matrix()) EXPECT_EQ(value, 0);
  }
}

TEST(QuantizeLayer, MakesUpForLayersBefore) {
  for (const char* name : kTinyModels) {
    const auto file = open_tiny(name);
    const ModelShape shape = read_shape(*file);
    const Calibration seen = random_tokens(shape.vocabulary, 8, 80), unseen = random_tokens(shape.vocabulary, 9, 20);
    const WeightScheme scheme = parse_weights("w3g32");
    const auto error_with = [&](double correct) {
      const QuantizeOptions options{.scale = false, .correct = correct};
      CalibrationRun run(*file, backend(), shape, seen), judge(*file, backend(), shape, unseen);
      for (int i = 0; i < shape.layers; ++i) {
        const LayerMatrices layer = read_layer(*file, shape, i);
        const QuantizedLayer made = quantize_layer(layer, &run, i, scheme, shape, backend(), options);
        judge.begin_layer(layer);
        judge.end_layer(made.rounded_matrices());
      }
      return distance(quantized(judge), sixteen_bits(judge));
    };
    EXPECT_LT(error_with(0.7), 0.98 * error_with(0)) << name;
  }
}

TEST(QuantizeLayer, EveryLinearMayHaveItsOwnFormat) {
  const auto file = open_tiny("tiny-llama");
  const ModelShape shape = read_shape(*file);
  const LayerMatrices layer = read_layer(*file, shape, 0);
  const Calibration calibration = random_tokens(shape.vocabulary, 6);
  CalibrationRun run(*file, backend(), shape, calibration);
  const QuantizedLayer quantized = quantize_layer(layer, &run, 0, parse_weights("w4g32,down:w8g32,o:w16,0.qkv:w3g32"),
                                                  shape, backend(), {.correct = 0});
  EXPECT_EQ(quantized.rounded[static_cast<size_t>(Part::kKey)]->format, (WeightFormat{WeightCodec::kInt3, 32}));
  EXPECT_EQ(quantized.rounded[static_cast<size_t>(Part::kUp)]->format, (WeightFormat{WeightCodec::kInt4, 32}));
  EXPECT_EQ(quantized.rounded[static_cast<size_t>(Part::kDown)]->format, (WeightFormat{WeightCodec::kInt8, 32}));
  EXPECT_FALSE(quantized.rounded[static_cast<size_t>(Part::kOutput)]);
  for (size_t i = 0; i < kParts; ++i) {
    if (!quantized.rounded[i]) continue;
    EXPECT_GT(quantized.reports[i].before, 0);
    EXPECT_LT(quantized.reports[i].after, quantized.reports[i].before) << kPartInfos[i].name;
  }
}

TEST(FittingFormat, TakesTheLargestGroupThatDivides) {
  EXPECT_EQ(fitting_format({WeightCodec::kInt4, 128}, 576).group, 64);
  EXPECT_EQ(fitting_format({WeightCodec::kInt4, 128}, 896).group, 128);
  EXPECT_EQ(fitting_format({WeightCodec::kInt4, 64}, 896).group, 64);
  EXPECT_EQ(fitting_format({WeightCodec::kInt3, 128}, 96).group, 32);
  EXPECT_EQ(message_of([] {
              fitting_format({WeightCodec::kInt4, 128}, 48);
            }),
            "a matrix of 48 columns cannot be quantized in groups: wanted a multiple of 32");
}

}  // namespace
}  // namespace kvpareto
