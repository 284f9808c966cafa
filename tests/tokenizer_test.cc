// The vocabularies and chat templates of real models, against the ids and renderings that
// tools/make_tokenizer_golden.py wrote. Each test needs the model's file, in $KVPARETO_MODELS or
// ~/.cache/kvpareto/models.
#include "text/chat.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"

namespace kvpareto {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::filesystem::path models_folder() {
  if (const char* folder = std::getenv("KVPARETO_MODELS")) return folder;
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : ".") / ".cache/kvpareto/models";
}

Tokenizer make_tokenizer(const VocabularyData& data, const std::string& pre_tokenizer) {
  Vocabulary vocabulary;
  vocabulary.model = data.model;
  vocabulary.pre_tokenizer = pre_tokenizer;
  vocabulary.tokens = data.tokens;
  vocabulary.merges = data.merges;
  vocabulary.token_types = data.token_types;
  vocabulary.beginning = data.beginning;
  vocabulary.end = data.end;
  vocabulary.add_beginning = data.adds_beginning.value_or(false);
  return Tokenizer(std::move(vocabulary));
}

void expect_golden_ids(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GT(cases.size(), 80u);
  for (const json& row : cases) {
    const std::string text = row["text"];
    EXPECT_EQ(tokenizer.encode(text, false, false), row["plain"].get<Ids>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, true, false), row.value("special", row["plain"]).get<Ids>()) << row["text"];
  }
}

class RealModel : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    golden = json::parse(std::ifstream(std::string(KVPARETO_TESTDATA "/text/") + GetParam()));
    const auto path = models_folder() / golden["file"].get<std::string>();
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs the model file " << path;
    data = open_checkpoint(path)->vocabulary();
  }
  json golden;
  VocabularyData data;
};

TEST_P(RealModel, EncodesLikeTheTokenizersPackage) {
  EXPECT_EQ(data.pre_tokenizer, golden["pre_tokenizer"]);
  expect_golden_ids(make_tokenizer(data, data.pre_tokenizer), golden["cases"]);
  if (golden.contains("llama_bpe_cases")) {
    expect_golden_ids(make_tokenizer(data, "llama-bpe"), golden["llama_bpe_cases"]);
  }
}

TEST_P(RealModel, RendersItsOwnChatTemplate) {
  ASSERT_GE(golden["chats"].size(), 3u);
  for (const json& row : golden["chats"]) {
    std::vector<Message> messages;
    for (const json& message : row["messages"]) messages.push_back({message[0], message[1]});
    EXPECT_EQ(render_chat(data.chat_template, messages, chat_tokens(make_tokenizer(data, data.pre_tokenizer))), row["text"].get<std::string>());
  }
}

TEST_P(RealModel, EndsItsTurnsAndTexts) {
  const Tokenizer tokenizer = make_tokenizer(data, data.pre_tokenizer);
  for (const char* name : {"<|im_end|>", "<|endoftext|>"})
    EXPECT_TRUE(tokenizer.is_end(tokenizer.find(name).value())) << name;
  EXPECT_FALSE(tokenizer.is_end(tokenizer.find("<|im_start|>").value()));
  EXPECT_EQ(tokenizer.encode("x", false, true), tokenizer.encode("x", false, false)) << "neither adds a beginning";
}

INSTANTIATE_TEST_SUITE_P(Text, RealModel, testing::Values("model_smollm2.json", "model_qwen2.5.json"),
                         [](const auto& name) { return std::string(name.index == 0 ? "SmolLM2" : "Qwen25"); });

}  // namespace
}  // namespace kvpareto
