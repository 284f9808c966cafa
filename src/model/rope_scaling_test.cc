// Against what transformers computes (testdata/rope/values.txt, written by testdata/folders/make.py).
#include "model/rope_scaling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

namespace kvpareto {
namespace {

// Metadata alone.
class Metadata : public Checkpoint {
 public:
  std::map<std::string, double, std::less<>> numbers = {{"context_length", 131072}};
  std::string kind;

  std::string format() const override { return "fake"; }
  const std::string& path() const override { return path_; }
  uint64_t file_bytes() const override { return 0; }
  uint64_t fingerprint() const override { return 0; }
  std::string architecture() const override { return "llama"; }
  std::optional<double> number(std::string_view key) const override {
    const auto found = numbers.find(key);
    return found == numbers.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<std::string> text(std::string_view) const override { return kind; }
  VocabularyData vocabulary() const override { return {}; }
  std::span<const TensorInfo> tensors() const override { return {}; }
  const TensorInfo* find(std::string_view) const override { return nullptr; }
  void read(const TensorInfo&, int64_t, int64_t, float*) const override {}
  std::optional<RowsPlace> place(const TensorInfo&) const override { return {}; }
  void release(const TensorInfo&) const override {}

 private:
  std::string path_ = "fake";
};

const std::map<std::string, std::string> kNames = {
    {"rope_theta", "rope.freq_base"},
    {"factor", "rope.scaling.factor"},
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
    {"low_freq_factor", "rope.scaling.low_freq_factor"},
    {"high_freq_factor", "rope.scaling.high_freq_factor"},
    {"beta_fast", "rope.scaling.yarn_beta_fast"},
    {"beta_slow", "rope.scaling.yarn_beta_slow"},
    {"attention_factor", "rope.scaling.attn_factor"}};

TEST(RopeScaling, IsThatOfTransformers) {
  std::ifstream lines(KVPARETO_TESTDATA "/rope/values.txt");
  int cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    Metadata metadata;
    words >> metadata.kind;
    int head_dim = 0;
    for (std::string word; words >> word && word != "|";) {
      const std::string key = word.substr(0, word.find('=')), value = word.substr(word.find('=') + 1);
      if (key == "head_dim") {
        head_dim = std::stoi(value);
      } else {
        metadata.numbers[kNames.at(key)] = std::stod(value);
      }
    }
    double magnitude = 0;
    std::string bar;
    words >> magnitude >> bar;
    const Rope rope = read_rope(metadata, head_dim);
    EXPECT_NEAR(rope.magnitude, magnitude, 1e-12) << line.substr(0, 60);
    for (int c = 0; c < head_dim / 2; ++c) {
      double wanted = 0;
      words >> wanted;
      const double found = std::pow(rope.base, -2.0 * c / head_dim) / rope.slowdown[static_cast<size_t>(c)];
      EXPECT_NEAR(found / wanted, 1, 2e-6) << metadata.kind << " pair " << c << "; theirs is f32";
    }
    ++cases;
  }
  EXPECT_EQ(cases, 5);
}

}  // namespace
}  // namespace kvpareto
