// The tokenizers of testdata/folders, as tokenizer.json and as GGUF, against the ids of the tokenizers package.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/model.h"

namespace kvpareto {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::string path_of(const std::string& name) { return KVPARETO_TESTDATA "/folders/" + name; }

struct Tested {
  std::string file, golden;
};

class FolderTokenizer : public testing::TestWithParam<Tested> {};

TEST_P(FolderTokenizer, GivesTheIdsOfTheTokenizersPackage) {
  const Tokenizer tokenizer = load_tokenizer(*open_checkpoint(path_of(GetParam().file)));
  const json golden = json::parse(std::ifstream(KVPARETO_TESTDATA "/text/folder_" + GetParam().golden + ".json"));
  ASSERT_GT(golden["cases"].size(), 80u);
  const bool dummy_space = tokenizer.find("<0x0A>").has_value();
  for (const json& row : golden["cases"]) {
    const std::string text = row["text"];
    const Ids plain = tokenizer.encode(text, false, false);
    EXPECT_EQ(plain, row["plain"].get<Ids>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, true, false), row.value("special", row["plain"]).get<Ids>()) << row["text"];
    // The package takes the space before a text off again; decode() does not know where a text begins.
    std::string decoded = tokenizer.decode(plain, true);
    if (dummy_space && decoded.starts_with(' ')) decoded.erase(0, 1);
    EXPECT_EQ(decoded, row.value("decoded", text)) << row["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FolderTokenizer,
    testing::Values(Tested{"tiny-llama2", "tiny-llama2"}, Tested{"tiny-llama2.gguf", "tiny-llama2"},
                    Tested{"tiny-llama3", "tiny-llama3"}, Tested{"tiny-smollm", "tiny-smollm"},
                    Tested{"tiny-mistral-v01", "tiny-mistral-v01"}, Tested{"tiny-mistral-v03", "tiny-mistral-v03"},
                    Tested{"tiny-qwen25", "tiny-qwen25"}, Tested{"tiny-qwen25.gguf", "tiny-qwen25"},
                    Tested{"tiny-qwen3", "tiny-qwen3"}, Tested{"tiny-qwen3.gguf", "tiny-qwen3"}),
    [](const auto& tested) {
      std::string name = tested.param.file;
      std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
      return name;
    });

TEST(LoadTokenizer, KnowsBeginningsAndEnds) {
  const Tokenizer llama3 = load_tokenizer(*open_checkpoint(path_of("tiny-llama3")));
  EXPECT_EQ(llama3.beginning_text(), "<|begin_of_text|>");
  EXPECT_EQ(llama3.encode("", false, true), (Ids{*llama3.find("<|begin_of_text|>")}));
  EXPECT_TRUE(llama3.is_end(*llama3.find("<|eot_id|>"))) << "generation_config.json";
  EXPECT_TRUE(llama3.is_end(*llama3.find("<|end_of_text|>")));

  for (const char* name : {"tiny-llama2", "tiny-llama2.gguf"}) {
    const Tokenizer llama2 = load_tokenizer(*open_checkpoint(path_of(name)));
    EXPECT_EQ(llama2.encode("", false, true), (Ids{1})) << name;
    EXPECT_TRUE(llama2.is_end(2)) << name;
    EXPECT_EQ(llama2.end_text(), "</s>") << name;
  }
  const Tokenizer qwen = load_tokenizer(*open_checkpoint(path_of("tiny-qwen25")));
  EXPECT_EQ(qwen.encode("", false, true), Ids{});
}

TEST(LoadTokenizer, HasATokenForEveryRowOfTheModel) {
  const auto folder = open_checkpoint(path_of("tiny-llama3"));
  const Tokenizer tokenizer = load_tokenizer(*folder);
  EXPECT_EQ(tokenizer.size(), folder->find("token_embd.weight")->rows());
  EXPECT_THAT(tokenizer.decode(Ids{tokenizer.size() - 1}), testing::StartsWith("[PAD"));
}

}  // namespace
}  // namespace kvpareto
