// The folders of testdata/folders (made by the script in it), whole and damaged.
#include "checkpoint/formats/hf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/testing.h"
#include "checkpoint/formats/hf_config.h"
#include "checkpoint/formats/packed_weights.h"

namespace kvpareto {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string folder_of(const std::string& name) { return KVPARETO_TESTDATA "/folders/" + name; }

// A copy whose files can be changed.
class Copy {
 public:
  explicit Copy(const std::string& name) { std::filesystem::copy(folder_of(name), folder_.path()); }
  std::string path() const { return folder_.path(); }
  std::string operator/(const std::string& file) const { return folder_ / file; }
  void change(const std::string& file, const std::function<void(json&)>& body) const {
    json value = json::parse(read_file(folder_ / file));
    body(value);
    write_file(folder_ / file, value.dump());
  }
  std::string refusal() const {
    const auto error = error_of([&] { open_checkpoint(folder_.path())->vocabulary(); });
    if (!error) return "no error";
    EXPECT_EQ(error->exit(), Exit::kFailure);
    EXPECT_EQ(std::string(error->what()).find('\n'), std::string::npos);
    EXPECT_THAT(error->what(), testing::StartsWith(folder_.path()));
    return error->what();
  }

 private:
  TemporaryFolder folder_;
};

TEST(HfFolder, SpeaksTheWordsOfGguf) {
  const auto folder = open_checkpoint(folder_of("tiny-llama3"));
  EXPECT_EQ(folder->format(), "Hugging Face folder");
  EXPECT_EQ(folder->architecture(), "llama");
  EXPECT_EQ(folder->number("block_count"), 2);
  EXPECT_EQ(folder->number("attention.key_length"), 32);
  EXPECT_EQ(folder->number("rope.freq_base"), 500000);
  EXPECT_EQ(folder->text("rope.scaling.type"), "llama3");
  EXPECT_EQ(folder->number("rope.scaling.original_context_length"), 64);
  EXPECT_EQ(folder->find("output.weight"), nullptr);
  ASSERT_NE(folder->find("blk.1.ffn_down.weight"), nullptr);
  EXPECT_EQ(folder->find("blk.1.ffn_down.weight")->storage, "BF16");
  EXPECT_EQ(folder->find("blk.0.attn_norm.weight")->shape, (std::vector<int64_t>{64}));
  EXPECT_EQ(open_checkpoint(folder_of("tiny-llama3") + "/")->path(), folder_of("tiny-llama3"));
}

// The same weights lie in GGUF files, written by the gguf package.
TEST(HfFolder, HoldsTheNumbersOfItsGgufTwin) {
  for (const std::string name : {"tiny-qwen25", "tiny-qwen3"}) {
    const auto folder = open_checkpoint(folder_of(name)), file = open_checkpoint(folder_of(name) + ".gguf");
    ASSERT_EQ(folder->tensors().size(), file->tensors().size());
    for (const TensorInfo& info : file->tensors()) {
      const TensorInfo* twin = folder->find(info.name);
      ASSERT_NE(twin, nullptr) << info.name;
      ASSERT_EQ(twin->shape, info.shape) << info.name;
      std::vector<float> wanted(info.rows() * info.columns()), found(wanted.size());
      file->read(info, 0, info.rows(), wanted.data());
      folder->read(*twin, 0, info.rows(), found.data());
      folder->release(*twin);
      EXPECT_EQ(wanted, found) << info.name;
    }
  }
}

TEST(HfFolder, TellsWindowsOnlyWhereTheyAreUsed) {
  EXPECT_EQ(open_checkpoint(folder_of("tiny-mistral-v01"))->number("attention.sliding_window"), 48);
  EXPECT_EQ(open_checkpoint(folder_of("tiny-mistral-v03"))->number("attention.sliding_window"), std::nullopt);
  EXPECT_EQ(open_checkpoint(folder_of("tiny-qwen25"))->number("attention.sliding_window"), std::nullopt);
}

TEST(HfFolder, FingerprintFollowsEveryPart) {
  const Copy copy("tiny-llama3");
  const uint64_t original = open_checkpoint(copy.path())->fingerprint();
  EXPECT_EQ(open_checkpoint(folder_of("tiny-llama3"))->fingerprint(), original);
  copy.change("config.json", [](json& config) { config["rope_theta"] = 10000; });
  const uint64_t second = open_checkpoint(copy.path())->fingerprint();
  EXPECT_NE(second, original);
  std::string shard = read_file(copy / "model-00002-of-00002.safetensors");
  shard.back() ^= 1;
  write_file(copy / "model-00002-of-00002.safetensors", shard);
  EXPECT_NE(open_checkpoint(copy.path())->fingerprint(), second);
}

TEST(HfFolder, VocabularyNamesItsFilesAndEnds) {
  const VocabularyData data = open_checkpoint(folder_of("tiny-llama3"))->vocabulary();
  EXPECT_THAT(data.tokenizer_json, HasSubstr("<|eot_id|>"));
  EXPECT_EQ(data.beginning_text, "<|begin_of_text|>");
  EXPECT_EQ(data.end_text, "<|end_of_text|>");
  EXPECT_EQ(data.ends.size(), 2u);
  EXPECT_THAT(data.chat_template, HasSubstr("<|im_start|>"));
}

TEST(HfFolder, ChatTemplatesStandInThreePlaces) {
  const Copy copy("tiny-qwen3");
  const auto found = [&] { return open_checkpoint(copy.path())->vocabulary().chat_template; };
  copy.change("tokenizer_config.json", [](json& config) {
    config["chat_template"] = {{{"name", "tool_use"}, {"template", "T"}}, {{"name", "default"}, {"template", "D"}}};
  });
  EXPECT_EQ(found(), "D");
  write_file(copy / "chat_template.jinja", "J");
  EXPECT_EQ(found(), "J");
  std::filesystem::remove(copy / "chat_template.jinja");
  copy.change("tokenizer_config.json", [](json& config) { config["chat_template"][1]["name"] = "rag"; });
  EXPECT_THAT(copy.refusal(), HasSubstr("none that is named default"));
  copy.change("tokenizer_config.json", [](json& config) { config.erase("chat_template"); });
  EXPECT_EQ(found(), "");
}

TEST(HfFolder, RefusesAnUnsoundConfig) {
  const std::vector<std::pair<std::function<void(json&)>, std::string>> cases = {
      {[](json& c) { c.erase("model_type"); }, "model_type is missing"},
      {[](json& c) { c["model_type"] = "a b"; }, "no word"},
      {[](json& c) { c["hidden_size"] = "64"; }, "hidden_size should be a number, found \"\"64\"\""},
      {[](json& c) { c["hidden_act"] = "gelu"; }, "activation \"gelu\""},
      {[](json& c) { c["rope_scaling"]["mscale"] = 1; }, "RoPE scaling with \"mscale\""},
      {[](json& c) { c["rope_scaling"] = 1; }, "rope_scaling should be an object"},
      {[](json& c) { c["partial_rotary_factor"] = 0.5; }, "rotation of a part"},
      {[](json& c) { c["tie_word_embeddings"] = false; }, "lm_head.weight is missing"},
      {[](json& c) { c["vocab_size"] = 5; }, "vocab_size is 5 in config.json, but the embedding has"},
      {[](json& c) { c["eos_token_id"] = -1; }, "eos_token_id should be a token"},
      {[](json& c) {
         c["quantization_config"] = {{"quant_method", "gptq"}};
       },
       "quantized with \"gptq\""},
      {[](json& c) {
         c["quantization_config"] = {{"quant_method", "awq"}, {"bits", 3}};
       },
       "AWQ with 3 bits"},
      {[](json& c) {
         c["quantization_config"] = {{"quant_method", "awq"}, {"group_size", 7}};
       },
       "AWQ in groups of 7"},
      {[](json& c) {
         c["quantization_config"] = {{"quant_method", "awq"}, {"version", "gemv"}};
       },
       "AWQ packing \"gemv\""},
  };
  for (const auto& [change, wanted] : cases) {
    const Copy copy("tiny-llama3");
    copy.change("config.json", change);
    EXPECT_THAT(copy.refusal(), HasSubstr(wanted));
  }
  const Copy copy("tiny-llama3");
  write_file(copy / "config.json", "[]");
  EXPECT_THAT(copy.refusal(), HasSubstr("config.json: no JSON object"));
}

TEST(HfFolder, RefusesAnUnsoundIndex) {
  const std::string index = "model.safetensors.index.json", first = "model-00001-of-00002.safetensors";
  const std::vector<std::pair<std::function<void(json&)>, std::string>> cases = {
      {[](json& i) { i.erase("weight_map"); }, "has no weight_map"},
      {[](json& i) { i["weight_map"] = json::object(); }, "lists 0 files"},
      {[](json& i) { i["weight_map"]["model.norm.weight"] = "../tiny-qwen3/model.safetensors"; },
       "which is no file name"},
      {[](json& i) { i["weight_map"]["model.norm.weight"] = 3; }, "which is no file name"},
      {[](json& i) {
         for (auto& shard : i["weight_map"]) shard = "other.safetensors";
       },
       "No such file"},
      {[](json& i) { i["weight_map"]["model.extra.weight"] = i["weight_map"]["model.norm.weight"]; },
       "tensor \"model.extra.weight\" is missing in"},
      {[](json& i) { i["weight_map"].erase("model.norm.weight"); },
       "holds tensor \"model.norm.weight\", which is not listed"},
  };
  for (const auto& [change, wanted] : cases) {
    const Copy copy("tiny-llama3");
    copy.change(index, change);
    EXPECT_THAT(copy.refusal(), HasSubstr(wanted));
  }
  const Copy copy("tiny-llama3");
  std::filesystem::resize_file(copy / first, 5000);
  EXPECT_THAT(copy.refusal(), HasSubstr("truncated"));
}

TEST(HfFolder, SaysWhatIsMissing) {
  const Copy copy("tiny-qwen3");
  std::filesystem::rename(copy / "tokenizer.json", copy / "tokenizer.model");
  EXPECT_THAT(copy.refusal(), HasSubstr("has no tokenizer.json, only tokenizer.model"));
  std::filesystem::remove(copy / "model.safetensors");
  EXPECT_THAT(copy.refusal(), HasSubstr("has a config.json but neither model.safetensors nor"));
  write_file(copy / "pytorch_model.bin", "x");
  EXPECT_THAT(copy.refusal(), HasSubstr("holds pytorch_model.bin but no model.safetensors"));
}

TEST(AwqFolder, HoldsCodesOfThisProgramsKind) {
  const auto folder = open_checkpoint(folder_of("tiny-awq"));
  const TensorInfo& info = *folder->find("blk.0.attn_k.weight");
  EXPECT_EQ(info.storage, "w4g32");
  EXPECT_EQ(info.shape, (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(info.bytes, 64u * 64 / 2 + 2 * 64 / 2 + 2 * 64 * 2);
  EXPECT_EQ(folder->find("blk.0.attn_k.bias")->storage, "F16");
  std::vector<float> row(64);
  WeightUnit unit;
  for (const int64_t r : {0, 1, 7, 8, 63}) {
    folder->read(info, r, 1, row.data());
    for (int64_t c = 0; c < 64; ++c) {
      if (c % 32 == 0) folder->read_unit(info, r, c / 32, unit);
      EXPECT_EQ(row[c], to_float(unit.halves[0]) * static_cast<float>(unit.codes[c % 32] - unit.bytes[0]));
    }
  }
  folder->release(info);
}

// The 32-bit word that holds the codes of eight neighbouring output channels: 0 2 4 6 1 3 5 7 from the lowest nibble
// on.
uint32_t awq_word(const uint8_t codes[8]) {
  constexpr int kNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};
  uint32_t word = 0;
  for (int channel = 0; channel < 8; ++channel) word |= static_cast<uint32_t>(codes[channel]) << (4 * kNibble[channel]);
  return word;
}

TEST(AwqFolder, WordsHoldEightChannels) {
  constexpr int64_t kRows = 16, kColumns = 32;
  std::vector<uint32_t> words, zeros;
  std::vector<uint16_t> scales;
  const auto code = [](int64_t row, int64_t column) { return static_cast<uint8_t>((3 * row + 5 * column) % 16); };
  for (int64_t column = 0; column <= kColumns; ++column) {
    for (int64_t first = 0; first < kRows; first += 8) {
      uint8_t codes[8];
      for (int i = 0; i < 8; ++i) codes[i] = code(first + i, column);
      (column < kColumns ? words : zeros).push_back(awq_word(codes));
    }
  }
  for (int64_t row = 0; row < kRows; ++row) scales.push_back(to_f16(static_cast<float>(row)).bits);
  const auto bytes = [](const auto& values) { return reinterpret_cast<const uint8_t*>(values.data()); };
  PackedParts parts(WeightFormat{WeightCodec::kInt4, 32}, {}, "here");
  const std::string stem = "model.layers.0.self_attn.q_proj";
  EXPECT_TRUE(parts.take({{stem + ".qweight", "I32", {kColumns, kRows / 8}}, bytes(words)}));
  EXPECT_TRUE(parts.take({{stem + ".qzeros", "I32", {1, kRows / 8}}, bytes(zeros)}));
  EXPECT_TRUE(parts.take({{stem + ".scales", "F16", {1, kRows}}, bytes(scales)}));
  EXPECT_FALSE(parts.take({{stem + ".bias", "F16", {kRows}}, bytes(scales)}));
  const auto matrices = parts.matrices();
  const PackedMatrix& tensor = matrices.at("blk.0.attn_q.weight");
  const uint8_t first[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(awq_word(first), 0x75316420u);
  for (int64_t row = 0; row < kRows; ++row) {
    WeightUnit unit;
    tensor.read_unit(row, 0, unit);
    for (int64_t column = 0; column < kColumns; ++column) EXPECT_EQ(unit.codes[column], code(row, column));
    EXPECT_EQ(unit.bytes[0], code(row, kColumns));
    EXPECT_EQ(to_float(unit.halves[0]), static_cast<float>(row));
  }
}

TEST(AwqFolder, RefusesPartsThatDoNotFit) {
  const auto rewritten = [](const std::function<void(json&)>& change) {
    const Copy copy("tiny-awq");
    const std::string file = read_file(copy / "model.safetensors");
    uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof size);
    json header = json::parse(file.substr(8, size));
    change(header);
    const std::string text = header.dump();
    const uint64_t length = text.size();
    write_file(copy / "model.safetensors",
               std::string(reinterpret_cast<const char*>(&length), 8) + text + file.substr(8 + size));
    return copy.refusal();
  };
  const std::string stem = "model.layers.0.self_attn.k_proj.";
  EXPECT_EQ(rewritten([](json&) {}), "no error");
  EXPECT_THAT(rewritten([&](json& h) { h[stem + "zeros"] = h[stem + "qzeros"], h.erase(stem + "qzeros"); }),
              HasSubstr("stored as I32"));
  EXPECT_THAT(rewritten([&](json& h) { h[stem + "bias2"] = h[stem + "scales"], h.erase(stem + "scales"); }),
              HasSubstr("tensor \"" + stem + "scales\" is missing"));
  EXPECT_THAT(rewritten([&](json& h) {
                h[stem + "scales"]["shape"] = {64, 2};
              }),
              HasSubstr(stem + "scales\" should be F16 [2, 64], found F16 [64, 2]"));
  EXPECT_THAT(rewritten([&](json& h) { h[stem + "scales"]["dtype"] = "BF16"; }),
              HasSubstr("should be F16 [2, 64], found BF16"));
  EXPECT_THAT(rewritten([&](json& h) {
                h[stem + "qweight"]["shape"] = {8, 64};
              }),
              HasSubstr("input channels in groups of 32"));
}

TEST(GgufTensorName, TranslatesWhatModelsHave) {
  EXPECT_EQ(gguf_tensor_name("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(gguf_tensor_name("lm_head.weight"), "output.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.31.self_attn.q_proj.bias"), "blk.31.attn_q.bias");
  EXPECT_EQ(gguf_tensor_name("model.layers.0.self_attn.k_norm.weight"), "blk.0.attn_k_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.0.self_attn.rotary_emb.inv_freq"), "");
  for (const char* other :
       {"model.layers.0.mlp.experts.weight", "model.layers.x.mlp.up_proj.weight", "visual.patch", "weight", ""}) {
    EXPECT_EQ(gguf_tensor_name(other), other);
  }
}

}  // namespace
}  // namespace kvpareto
