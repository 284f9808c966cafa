#include "model/weight_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/testing.h"
#include "model/testing.h"
#include "quant/gguf_blocks.h"

namespace kvpareto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A tiny file whose tensors say that they are stored otherwise; those that are codes are 3 everywhere but in the first
// column, whose code is the row.
class Restored : public Checkpoint {
 public:
  Restored(const std::string& kind, const std::string& storage, const std::string& name = "tiny-llama")
      : file_(open_tiny(name)) {
    for (TensorInfo info : file_->tensors()) {
      if (info.name.find(kind) != std::string::npos && info.shape.size() == 2) info.storage = storage;
      infos_.push_back(info);
    }
  }
  std::string format() const override { return "fake"; }
  const std::string& path() const override { return file_->path(); }
  uint64_t file_bytes() const override { return file_->file_bytes(); }
  uint64_t fingerprint() const override { return 1; }
  std::string architecture() const override { return file_->architecture(); }
  std::optional<double> number(std::string_view key) const override { return file_->number(key); }
  std::optional<std::string> text(std::string_view key) const override { return file_->text(key); }
  VocabularyData vocabulary() const override { return file_->vocabulary(); }
  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found = std::ranges::find(infos_, name, &TensorInfo::name);
    return found == infos_.end() ? nullptr : &*found;
  }
  void read(const TensorInfo& info, int64_t begin, int64_t count, float* out) const override {
    file_->read(*file_->find(info.name), begin, count, out);
  }
  const uint8_t* stored_row(const TensorInfo& info, int64_t row) const override {
    return file_->stored_row(*file_->find(info.name), row);
  }
  void read_unit(const TensorInfo&, int64_t row, int64_t, WeightUnit& out) const override {
    out.codes.fill(3);
    out.codes[0] = static_cast<uint8_t>(row % 16);
    out.halves[0] = to_f16(0.5f);
    out.bytes[0] = 3;
  }
  std::optional<RowsPlace> place(const TensorInfo& info) const override {
    return info.storage.starts_with('w') ? std::nullopt : file_->place(*file_->find(info.name));
  }
  void release(const TensorInfo&) const override {}

 private:
  std::unique_ptr<Checkpoint> file_;
  std::vector<TensorInfo> infos_;
};

WeightPlan plan_of(const Checkpoint& file, const std::string& text) {
  return plan_weights(file, read_shape(file), parse_weights(text));
}

TEST(WeightPlan, EachMatrixHasWhatTheSchemeSays) {
  const auto file = open_tiny("tiny-llama");  // 3 layers, 128 columns, 256 of the MLP
  const WeightPlan plan = plan_of(*file, "w4g128e8,down:w8g64,1:w16,2.o:w3g32");
  EXPECT_EQ(plan.head.spec.parts.front().format, (WeightFormat{WeightCodec::kInt8Apart, 128}));
  EXPECT_FALSE(plan.embedding) << "tied";
  ASSERT_EQ(plan.layers.size(), 3u);
  EXPECT_EQ(plan.layers[0].qkv.spec.parts.front().format, (WeightFormat{WeightCodec::kInt4, 128}));
  EXPECT_EQ(plan.layers[0].down.spec.parts.front().format, (WeightFormat{WeightCodec::kInt8, 64}));
  EXPECT_EQ(plan.layers[1].down.spec.parts.front().format, WeightFormat());
  EXPECT_EQ(plan.layers[2].output.spec.parts.front().format, (WeightFormat{WeightCodec::kInt3, 32}));
  EXPECT_EQ(plan.layers[2].qkv.spec.rows(), 8 * 32);
  EXPECT_EQ(plan.layers[2].qkv.spec.parts.size(), 1u) << "neighbours of one format are one part";
  EXPECT_THAT(plan.notes, ElementsAre());
}

TEST(WeightPlan, AGroupThatDoesNotDivideBecomesTheLargestThatDoes) {
  class Narrow : public Restored {
   public:
    Narrow() : Restored("none", "") {
      for (const TensorInfo& info : tensors()) infos_.push_back(info);
      for (TensorInfo& info : infos_) {
        if (info.name == "blk.0.attn_output.weight") info.shape.back() = 192;
        if (info.name == "blk.1.attn_output.weight") info.shape.back() = 100;
      }
    }
    const TensorInfo* find(std::string_view name) const override {
      return &*std::ranges::find(infos_, name, &TensorInfo::name);
    }

   private:
    std::vector<TensorInfo> infos_;
  } const narrow;
  const ModelShape shape = read_shape(*open_tiny("tiny-llama"));
  const auto plan = [&](const std::string& text) { return plan_weights(narrow, shape, parse_weights(text)); };
  const WeightPlan fitted = plan("w4g128,1.o:w16");
  EXPECT_EQ(fitted.layers[0].output.spec.parts.front().format.group, 64);
  EXPECT_THAT(fitted.notes, ElementsAre("groups of 128 do not divide 192 columns: groups of 64 there"));
  const auto error = error_of([&] { plan("w4g128"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(),
              HasSubstr("blk.1.attn_output.weight has 100 columns, which groups of 128, 64 or 32 do not divide"));
}

TEST(WeightPlan, StoredTakesWhatIsThereAndRefusesWhatCannotBeMultiplied) {
  const Restored mixed("attn_k", "Q5_0");
  const WeightPlan plan = plan_of(mixed, "stored");
  const LinearSpec& qkv = plan.layers[0].qkv.spec;
  ASSERT_EQ(qkv.parts.size(), 3u);
  EXPECT_EQ(qkv.parts[1].format.codec, WeightCodec::kQ5_0);
  EXPECT_EQ(qkv.parts[1].rows, 2 * 32);
  const auto error = error_of([] { plan_of(Restored("ffn_up", "Q3_K"), "stored"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), HasSubstr("blk.0.ffn_up.weight is stored as Q3_K"));
  EXPECT_THAT(error->what(), HasSubstr("the nearest weights are w4g32"));
}

TEST(WeightPlan, AnEmbeddingThatIsNotTheHeadStaysInTheFile) {
  const auto file = open_tiny("tiny-qwen2");
  const auto backend = make_backend("reference");
  const TensorInfo& info = *file->find("token_embd.weight");
  std::vector<float> wanted(static_cast<size_t>(info.rows() * info.columns())), got = wanted;
  file->read(info, 0, info.rows(), wanted.data());
  std::vector<int32_t> rows(static_cast<size_t>(info.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  for (const char* text : {"w16", "stored", "w4g128e8"}) {
    const Model model = load_model(*file, *backend, parse_weights(text));
    ASSERT_TRUE(model.embedding);
    model.embedding->read(rows, tensor(got.data(), info.rows(), info.columns()));
    EXPECT_EQ(got, wanted) << text << ": as the file has it, whatever the weights";
    EXPECT_EQ(model.bytes(), weights_bytes(model.shape, model.weights, *backend)) << text;
  }
  const auto error = error_of([] { plan_of(Restored("token_embd", "w8g128", "tiny-qwen2"), "w16"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), HasSubstr("token_embd.weight in F32, F16, BF16 or a type of GGUF, found w8g128"));
}

// Its planes lie apart, which loses nothing of the blocks.
TEST(WeightPlan, AHeadInQ80IsTheNumbersOfItsBlocks) {
  class WithBlocks : public Restored {
   public:
    WithBlocks() : Restored("token_embd", "Q8_0") {
      for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i] = static_cast<uint8_t>((31 * i + i / 34) & 0xbf);
    }
    const uint8_t* stored_row(const TensorInfo&, int64_t row) const override { return blocks_.data() + row * 4 * 34; }

   private:
    std::vector<uint8_t> blocks_ = std::vector<uint8_t>(320 * 4 * 34);
  };
  const WithBlocks file;
  const TensorInfo& info = *file.find("token_embd.weight");
  std::vector<int32_t> rows(static_cast<size_t>(info.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> wanted(rows.size() * 128), got = wanted;
  find_gguf_block_format(8)->decode(file.stored_row(info, 0), info.rows() * 4, wanted.data());
  const auto backend = make_backend("reference");
  for (const char* text : {"w16estored", "w4g32e8g32"}) {
    const Model model = load_model(file, *backend, parse_weights(text));
    EXPECT_EQ(model.head->spec().parts.front().format, (WeightFormat{WeightCodec::kInt8Apart, 32})) << text;
    backend->embed(*model.head, rows, tensor(got.data(), info.rows(), 128));
    EXPECT_EQ(got, wanted) << text;
  }
}

// As an AWQ checkpoint brings them: never rounded again.
TEST(WeightPlan, CodesOfACheckpointAreTakenAsTheyAre) {
  const Restored coded("blk", "w4g32");
  const auto backend = make_backend("reference");
  for (const char* text : {"stored", "w4g32"}) {
    const Model model = load_model(coded, *backend, parse_weights(text));
    const Linear& down = *model.layers[1].down;
    EXPECT_EQ(down.spec().parts.front().format, (WeightFormat{WeightCodec::kInt4, 32})) << text;
    const std::vector<int32_t> rows = {0, 5, 17};
    std::vector<float> out(3 * 256);
    backend->embed(down, rows, tensor(out.data(), 3, 256));
    for (size_t i = 0; i < out.size(); ++i) {
      const float wanted = i % 32 == 0 ? 0.5f * static_cast<float>(rows[i / 256] % 16 - 3) : 0.0f;
      ASSERT_EQ(out[i], wanted) << text << " " << i;
    }
  }
}

}  // namespace
}  // namespace kvpareto
