// Whole folders from the tiny checkpoints: read back, resumed, damaged.

#include "awq/quantize_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "base/testing.h"
#include "engine/session.h"
#include "model/testing.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Backend& backend() {
  static const std::unique_ptr<Backend> made = make_backend("auto");
  return *made;
}

Calibration random_tokens(int vocabulary, uint64_t seed) {
  Random random(seed);
  Calibration calibration{{}, "random tokens"};
  for (int i = 0; i < 4; ++i) {
    auto& tokens = calibration.sequences.emplace_back();
    for (int t = 0; t < 40; ++t)
      tokens.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
  }
  return calibration;
}

QuantizeJob job_for(const Checkpoint& file, const std::string& folder, const std::string& weights, Layout layout) {
  QuantizeJob job;
  job.scheme = parse_weights(weights);
  job.calibration = random_tokens(read_shape(file).vocabulary, 1);
  job.folder = folder;
  job.layout = layout;
  return job;
}

// Name -> contents of every file.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename()] = read_file(entry.path());
  return files;
}

std::vector<float> logits_of(const Model& model, std::span<const int32_t> tokens) {
  Session session(model, {.scheme = KvScheme(), .context = 64, .chunk = 64});
  std::vector<float> all;
  session.forward(tokens, [&](int64_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
  return all;
}

WeightScheme as_stored() { return parse_weights("stored.a16"); }

struct Stop {};

// Runs the job and throws out of it when `layer` is about to begin, as a kill would end it.
void run_until(const Checkpoint& file, const QuantizeJob& job, int layer) {
  const int layers = read_shape(file).layers;
  const double at = static_cast<double>(layer) / layers;
  EXPECT_THROW(quantize_model(file, backend(), job,
                              [&](double fraction, const std::string&) {
                                if (fraction >= at) throw Stop();
                              }),
               Stop);
}

TEST(QuantizeModel, BothLayoutsGiveTheSameWeightsBack) {
  for (const char* name : kTinyModels) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const auto file = open_tiny(name);
    const ModelShape shape = read_shape(*file);
    quantize_model(*file, backend(), job_for(*file, folder / "awq", "w4g32", Layout::kAwq));
    quantize_model(*file, backend(), job_for(*file, folder / "plain", "w4g32", Layout::kPlain));
    const auto awq = open_checkpoint(folder / "awq"), plain = open_checkpoint(folder / "plain");
    const std::vector<int32_t> tokens = random_tokens(shape.vocabulary, 2).sequences.front();
    const Model first = load_model(*awq, backend(), as_stored()), second = load_model(*plain, backend(), as_stored());
    const std::vector<float> logits = logits_of(first, tokens);
    EXPECT_EQ(logits, logits_of(second, tokens));
    // Codes are kept as codes: the same bytes as the scheme needs, and the same logits when it is asked for by name.
    const Model named = load_model(*plain, backend(), parse_weights("w4g32.a16"));
    EXPECT_EQ(named.bytes(), second.bytes());
    EXPECT_EQ(logits, logits_of(named, tokens));
    const Model sixteen = load_model(*file, backend(), {});
    EXPECT_LT(named.bytes(), sixteen.bytes());
    EXPECT_NE(logits, logits_of(sixteen, tokens));
    // The matrices as f32 are what the codes say.
    for (const TensorInfo& info : awq->tensors()) {
      std::vector<float> a(static_cast<size_t>(info.rows() * info.columns())), b(a.size());
      awq->read(info, 0, info.rows(), a.data());
      plain->read(*plain->find(info.name), 0, info.rows(), b.data());
      EXPECT_EQ(a, b) << info.name;
    }
  }
}

TEST(QuantizeModel, ScalesAloneChangeLogitsByRoundingAlone) {
  const TemporaryFolder folder;
  const auto file = open_tiny("tiny-qwen2");
  // Scales of a job at 3 bits, but every linear kept in 16: only qkv of layer 0 is rounded, and put back below.
  QuantizeJob job = job_for(*file, folder / "out", "w16,down:w8g32", Layout::kPlain);
  quantize_model(*file, backend(), job);
  const auto made = open_checkpoint(folder / "out");
  const std::vector<int32_t> tokens = random_tokens(read_shape(*file).vocabulary, 3).sequences.front();
  const std::vector<float> wanted = logits_of(load_model(*file, backend(), {}), tokens);
  const std::vector<float> got = logits_of(load_model(*made, backend(), {}), tokens);
  double sum = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    sum += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  EXPECT_GT(sum, 0);
  EXPECT_LT(std::sqrt(sum / size), 0.02);
}

TEST(QuantizeModel, TokenizerIsTheSame) {
  for (const char* name : {"tiny-llama", "tiny-qwen2"}) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const auto file = open_tiny(name);
    QuantizeJob job = job_for(*file, folder / "out", "w4g32", Layout::kAwq);
    job.options.method = Method::kNearest;
    quantize_model(*file, backend(), job);
    const Tokenizer wanted = load_tokenizer(*file), got = load_tokenizer(*open_checkpoint(folder / "out"));
    for (const char* text :
         {"Hello, world", " l'été à 12345 pas\n\n\tcafé", "<|im_start|>user\nHi<|im_end|>", "日本語 ёлка"}) {
      EXPECT_EQ(got.encode(text, true, true), wanted.encode(text, true, true)) << text;
    }
  }
}

TEST(QuantizeModel, GoesOnWhereItWasKilledWithTheSameFiles) {
  const auto file = open_tiny("tiny-qwen2");
  const int layers = read_shape(*file).layers;
  ASSERT_GE(layers, 2);
  const TemporaryFolder folder;
  quantize_model(*file, backend(), job_for(*file, folder / "whole", "w3g32", Layout::kPlain));
  const auto wanted = contents(folder / "whole");
  EXPECT_FALSE(wanted.contains("job.json") || wanted.contains("journal.json"));
  for (int layer = 0; layer <= layers; ++layer) {
    const std::string name = folder / ("part" + std::to_string(layer));
    const QuantizeJob job = job_for(*file, name, "w3g32", Layout::kPlain);
    run_until(*file, job, layer);
    EXPECT_FALSE(fs::exists(name));
    const QuantizeReport report = quantize_model(*file, backend(), job);
    EXPECT_EQ(report.resumed, layer);
    EXPECT_EQ(contents(name), wanted);
    EXPECT_FALSE(fs::exists(name + ".partial"));
  }
}

TEST(QuantizeModel, DamagedWorkIsDoneAgain) {
  const auto file = open_tiny("tiny-llama");
  const TemporaryFolder folder;
  quantize_model(*file, backend(), job_for(*file, folder / "whole", "w4g32", Layout::kPlain));
  const auto wanted = contents(folder / "whole");
  for (const std::string& victim : {std::string("model-00001"), std::string("states-1"), std::string("journal.json")}) {
    for (const bool truncated : {false, true}) {
      SCOPED_TRACE(victim);
      const std::string name = folder / (victim + (truncated ? "t" : "c"));
      const QuantizeJob job = job_for(*file, name, "w4g32", Layout::kPlain);
      run_until(*file, job, 1);
      for (const auto& entry : fs::directory_iterator(name + ".partial")) {
        if (!entry.path().filename().string().starts_with(victim)) continue;
        std::string bytes = read_file(entry.path());
        bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
        if (truncated) bytes.resize(bytes.size() / 2);
        write_file(entry.path(), bytes);
      }
      const QuantizeReport report = quantize_model(*file, backend(), job);
      EXPECT_EQ(report.resumed, 0);
      EXPECT_THAT(report.notes, testing::Contains(HasSubstr("begun again")));
      EXPECT_EQ(contents(name), wanted);
    }
  }
}

TEST(QuantizeModel, RefusesInOneLine) {
  const auto file = open_tiny("tiny-llama");
  const TemporaryFolder folder;
  const auto refusal = [&](const QuantizeJob& job) {
    return message_of([&] { quantize_model(*file, backend(), job); });
  };
  const QuantizeJob job = job_for(*file, folder / "out", "w4g32", Layout::kAwq);
  run_until(*file, job, 1);
  EXPECT_THAT(refusal(job_for(*file, folder / "out", "w3g32", Layout::kPlain)),
              HasSubstr("holds another, unfinished quantization"));
  quantize_model(*file, backend(), job);
  EXPECT_THAT(refusal(job), HasSubstr("exists already"));
  EXPECT_THAT(message_of([&] { check_job(*file, backend(), job); }), HasSubstr("exists already"));
  EXPECT_THAT(refusal(job_for(*file, folder / "b", "w4g32,down:w8g32", Layout::kAwq)),
              HasSubstr("4 bits in one group size"));
  EXPECT_THAT(refusal(job_for(*file, folder / "c", "stored", Layout::kPlain)), HasSubstr("as stored"));
  fs::create_directories(folder / "d.partial/other");
  EXPECT_THAT(refusal(job_for(*file, folder / "d", "w4g32", Layout::kAwq)),
              HasSubstr("is not an unfinished quantization"));
  EXPECT_FALSE(fs::exists(folder / "d.partial/lock"));
  // Two at once: the second leaves the first alone.
  EXPECT_THAT(message_of([&] {
                quantize_model(*file, backend(), job_for(*file, folder / "f", "w4g32", Layout::kAwq),
                               [&](double, const std::string&) {
                                 quantize_model(*file, backend(), job_for(*file, folder / "f", "w4g32", Layout::kAwq));
                               });
              }),
              HasSubstr("another process is at work"));
  const auto quantized = open_checkpoint(folder / "out");
  EXPECT_THAT(
      message_of([&] { quantize_model(*quantized, backend(), job_for(*file, folder / "e", "w4g32", Layout::kAwq)); }),
      HasSubstr("quantized already"));
}

}  // namespace
}  // namespace kvpareto
