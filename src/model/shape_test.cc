#include "model/shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/testing.h"
#include "model/family.h"
#include "model/testing.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

TEST(ReadShape, OfTheTinyFiles) {
  const ModelShape llama = read_shape(*open_tiny("tiny-llama"));
  EXPECT_EQ(llama.family, "llama");
  EXPECT_EQ(llama.layers, 3);
  EXPECT_EQ(llama.hidden, 128);
  EXPECT_EQ(llama.heads, 4);
  EXPECT_EQ(llama.kv_heads, 2);
  EXPECT_EQ(llama.head_dim, 32);
  EXPECT_EQ(llama.feed_forward, 256);
  EXPECT_EQ(llama.context, 512);
  EXPECT_EQ(llama.vocabulary, 3 + 256 + 32);
  EXPECT_EQ(llama.rope.base, 10000);
  EXPECT_FLOAT_EQ(llama.norm_epsilon, 1e-6f);
  EXPECT_FALSE(llama.qkv_bias);
  EXPECT_TRUE(llama.tied);
  EXPECT_EQ(llama.qkv_rows(), 8 * 32);

  const ModelShape wide = read_shape(*open_tiny("tiny-llama-hd64"));
  EXPECT_EQ(wide.layers, 2);
  EXPECT_EQ(wide.head_dim, 64) << "from the file, not hidden / heads";
  EXPECT_EQ(wide.hidden / wide.heads, 32);

  const ModelShape qwen2 = read_shape(*open_tiny("tiny-qwen2"));
  EXPECT_EQ(qwen2.family, "qwen2");
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.tied);
  EXPECT_EQ(qwen2.rope.base, 1000000);
}

size_t predicted_bytes(const Checkpoint& file, const Backend& backend) {
  const ModelShape shape = read_shape(file);
  return weights_bytes(shape, plan_weights(file, shape), backend);
}

TEST(ReadShape, PredictsTheWeightsThatAreThenHeld) {
  for (const char* name : kTinyModels) {
    for (const std::string& backend_name : backend_names()) {
      const auto backend = make_backend(backend_name);
      const size_t predicted = predicted_bytes(*open_tiny(name), *backend);
      EXPECT_EQ(backend->allocated(Purpose::kWeights), 0u);
      {
        const Model model = load_tiny(name, *backend);
        EXPECT_EQ(backend->allocated(Purpose::kWeights), predicted) << name << " " << backend_name;
      }
      EXPECT_EQ(backend->allocated(Purpose::kWeights), 0u);
    }
  }
}

// A file of numbers and shapes alone.
class FakeCheckpoint : public Checkpoint {
 public:
  std::string architecture_ = "llama";
  std::map<std::string, double, std::less<>> numbers_ = {{"block_count", 1},           {"embedding_length", 128},
                                                         {"attention.head_count", 4},  {"attention.head_count_kv", 2},
                                                         {"feed_forward_length", 256}, {"context_length", 512}};
  std::map<std::string, std::string, std::less<>> texts_;

  FakeCheckpoint() {
    for (const auto& [name, shape] :
         std::vector<std::pair<std::string, std::vector<int64_t>>>{{"token_embd.weight", {50, 128}},
                                                                   {"output_norm.weight", {128}},
                                                                   {"blk.0.attn_norm.weight", {128}},
                                                                   {"blk.0.ffn_norm.weight", {128}},
                                                                   {"blk.0.attn_q.weight", {128, 128}},
                                                                   {"blk.0.attn_k.weight", {64, 128}},
                                                                   {"blk.0.attn_v.weight", {64, 128}},
                                                                   {"blk.0.attn_output.weight", {128, 128}},
                                                                   {"blk.0.ffn_gate.weight", {256, 128}},
                                                                   {"blk.0.ffn_up.weight", {256, 128}},
                                                                   {"blk.0.ffn_down.weight", {128, 256}}}) {
      put(name, shape);
    }
  }
  void put(const std::string& name, std::vector<int64_t> shape) {
    remove(name);
    tensors_.push_back({name, "F32", std::move(shape), 0});
  }
  void remove(const std::string& name) {
    std::erase_if(tensors_, [&](const TensorInfo& info) { return info.name == name; });
  }

  std::string format() const override { return "fake"; }
  const std::string& path() const override { return path_; }
  uint64_t file_bytes() const override { return 0; }
  uint64_t fingerprint() const override { return 0; }
  std::string architecture() const override { return architecture_; }
  std::optional<double> number(std::string_view key) const override {
    const auto found = numbers_.find(key);
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<std::string> text(std::string_view key) const override {
    const auto found = texts_.find(key);
    return found == texts_.end() ? std::nullopt : std::optional(found->second);
  }
  VocabularyData vocabulary() const override { return {}; }
  std::span<const TensorInfo> tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found =
        std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& info) { return info.name == name; });
    return found == tensors_.end() ? nullptr : &*found;
  }
  void read(const TensorInfo&, int64_t, int64_t, float*) const override {}
  std::optional<RowsPlace> place(const TensorInfo&) const override { return {}; }
  void release(const TensorInfo&) const override {}

 private:
  std::string path_ = "fake.gguf";
  std::vector<TensorInfo> tensors_;
};

std::string refusal(const FakeCheckpoint& file) {
  const auto error = error_of([&] { read_shape(file); });
  if (!error) return "no error";
  EXPECT_EQ(error->exit(), Exit::kFailure);
  EXPECT_EQ(std::string(error->what()).find('\n'), std::string::npos);
  return error->what();
}
std::string refusal_with(const std::string& key, double value) {
  FakeCheckpoint file;
  file.numbers_[key] = value;
  return refusal(file);
}

TEST(ReadShape, DefaultsOfWhatAFileMayLeaveOut) {
  FakeCheckpoint file;
  file.numbers_.erase("attention.head_count_kv");
  file.put("blk.0.attn_k.weight", {128, 128});
  file.put("blk.0.attn_v.weight", {128, 128});
  const ModelShape shape = read_shape(file);
  EXPECT_EQ(shape.kv_heads, 4);
  EXPECT_EQ(shape.head_dim, 32);
  EXPECT_EQ(shape.rope.base, 10000);
  EXPECT_FLOAT_EQ(shape.norm_epsilon, 1e-5f);
  EXPECT_EQ(shape.vocabulary, 50);
}

TEST(ReadShape, UnknownArchitectureListsTheKnownOnes) {
  FakeCheckpoint file;
  file.architecture_ = "mamba";
  const std::string message = refusal(file);
  EXPECT_THAT(message, HasSubstr("'mamba'"));
  EXPECT_THAT(message, HasSubstr("llama, mistral, qwen2, qwen3"));
}

TEST(ReadShape, MissingMetadataIsNamed) {
  for (const char* key :
       {"block_count", "embedding_length", "attention.head_count", "feed_forward_length", "context_length"}) {
    FakeCheckpoint file;
    file.numbers_.erase(key);
    EXPECT_EQ(refusal(file), std::string("fake.gguf: metadata llama.") + key + " is missing");
  }
}

TEST(ReadShape, MissingOrMisshapenTensorsAreNamed) {
  const FakeCheckpoint whole;
  for (const TensorInfo& info : whole.tensors()) {
    FakeCheckpoint missing, misshapen;
    missing.remove(info.name);
    EXPECT_THAT(refusal(missing),
                testing::AnyOf(HasSubstr("tensor " + info.name + " is missing"), HasSubstr("no token embedding")));
    std::vector<int64_t> shape = info.shape;
    shape.back() += 32;
    misshapen.put(info.name, shape);
    EXPECT_THAT(refusal(misshapen), HasSubstr("tensor " + info.name + " should have shape [")) << info.name;
  }
  FakeCheckpoint transposed;
  transposed.put("blk.0.ffn_down.weight", {256, 128});
  EXPECT_THAT(refusal(transposed),
              HasSubstr("blk.0.ffn_down.weight should have shape [128, 256] by the metadata, found [256, 128]"));
  FakeCheckpoint flat;
  flat.put("token_embd.weight", {50 * 128});
  EXPECT_THAT(refusal(flat), HasSubstr("no token embedding matrix"));
  FakeCheckpoint untied;
  untied.put("output.weight", {51, 128});
  EXPECT_THAT(refusal(untied), HasSubstr("output.weight should have shape [50, 128]"));
  FakeCheckpoint qwen2;
  qwen2.architecture_ = "qwen2";
  EXPECT_THAT(refusal(qwen2), HasSubstr("tensor blk.0.attn_q.bias is missing"));
}

// A bias that the family does not have would be read past its end if only some of q, k, v had one.
TEST(ReadShape, UnexpectedBiasIsRefused) {
  for (const char* name :
       {"blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_up.bias", "blk.0.ffn_down.bias", "output.bias"}) {
    FakeCheckpoint file;
    file.put(name, {64});
    EXPECT_THAT(refusal(file), HasSubstr(std::string("tensor ") + name + " is not part of")) << name;
  }
}

TEST(ReadShape, SizesThatDoNotFitTogether) {
  EXPECT_THAT(refusal_with("attention.head_count_kv", 3), HasSubstr("4 heads do not share 3 key heads evenly"));
  EXPECT_THAT(refusal_with("attention.head_count_kv", 8), HasSubstr("4 heads do not share 8 key heads evenly"));
  EXPECT_THAT(refusal_with("attention.key_length", 48), HasSubstr("head size 48 is not a multiple of 32"));
  EXPECT_THAT(refusal_with("attention.value_length", 64), HasSubstr("different head sizes"));
  EXPECT_THAT(refusal_with("rope.dimension_count", 16), HasSubstr("rotation of a part"));
  EXPECT_THAT(refusal_with("attention.head_count", 8), HasSubstr("head size 16 is not a multiple of 32"));
  EXPECT_THAT(refusal_with("feed_forward_length", 250), HasSubstr("feed-forward size 250 is not a multiple of 16"));
  EXPECT_THAT(refusal_with("attention.head_count", 3), HasSubstr("whole number"));
  FakeCheckpoint forty_eight;
  forty_eight.numbers_["attention.key_length"] = forty_eight.numbers_["attention.value_length"] = 48;
  EXPECT_THAT(refusal(forty_eight), HasSubstr("head size 48 is not a multiple of 32"));
  FakeCheckpoint scaled;
  scaled.texts_["rope.scaling.type"] = "longrope";
  EXPECT_THAT(refusal(scaled),
              HasSubstr("RoPE scaling 'longrope' is not supported; supported: none, linear, llama3, yarn"));
  FakeCheckpoint factors;
  factors.put("rope_freqs.weight", {17});
  EXPECT_THAT(refusal(factors), HasSubstr("rope_freqs.weight should have shape [16] by the metadata, found [17]"));
}

TEST(ReadShape, AbsurdSizesAreRefused) {
  for (const char* key : {"block_count", "embedding_length", "attention.head_count", "attention.head_count_kv",
                          "feed_forward_length", "context_length", "attention.key_length"}) {
    for (const double value : {0.0, -1.0, 0.5, 1e9, 1e300}) {
      EXPECT_THAT(refusal_with(key, value), HasSubstr("whole number from 1 to")) << key << " " << value;
    }
  }
  EXPECT_THAT(refusal_with("block_count", 1024), HasSubstr("blk.1.attn_norm.weight is missing"));
  EXPECT_THAT(refusal_with("rope.freq_base", 0), HasSubstr("should be positive"));
  EXPECT_THAT(refusal_with("rope.freq_base", HUGE_VAL), HasSubstr("should be positive"));
  EXPECT_THAT(refusal_with("attention.layer_norm_rms_epsilon", -1e-6), HasSubstr("should be positive"));
}

}  // namespace
}  // namespace kvpareto
