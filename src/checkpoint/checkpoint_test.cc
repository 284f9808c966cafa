#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

std::string tiny(const std::string& name) { return KVPARETO_TESTDATA "/tiny/" + name; }

std::string real_model(const std::string& name) {
  if (const char* folder = std::getenv("KVPARETO_MODELS")) return std::string(folder) + "/" + name;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.cache/kvpareto/models/" + name;
}

struct WantedValue {
  std::string tensor, storage;
  int64_t rows, columns, row, column;
  float value;
};
struct WantedFile {
  size_t tensors, tokens, merges;
  std::string architecture;
  std::vector<WantedValue> values;
};

// What testdata/checkpoint_values/make.py wrote.
std::map<std::string, WantedFile> wanted_files() {
  std::map<std::string, WantedFile> files;
  WantedFile* current = nullptr;
  std::ifstream lines(KVPARETO_TESTDATA "/checkpoint_values/values.txt");
  for (std::string kind, name; lines >> kind >> name;) {
    if (kind == "file") {
      current = &files[name];
      lines >> current->tensors >> current->architecture >> current->tokens >> current->merges;
      continue;
    }
    WantedValue wanted;
    std::string number;
    wanted.tensor = name;
    lines >> wanted.storage >> wanted.rows >> wanted.columns >> wanted.row >> wanted.column >> number;
    wanted.value = std::strtof(number.c_str(), nullptr);
    current->values.push_back(wanted);
  }
  return files;
}

void expect_golden_values(const std::string& path) {
  const std::map<std::string, WantedFile> files = wanted_files();
  const WantedFile& wanted = files.at(std::filesystem::path(path).filename());
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(path);
  EXPECT_EQ(checkpoint->format(), "GGUF v3");
  EXPECT_EQ(checkpoint->path(), path);
  EXPECT_EQ(checkpoint->file_bytes(), std::filesystem::file_size(path));
  EXPECT_EQ(checkpoint->architecture(), wanted.architecture);
  EXPECT_EQ(checkpoint->tensors().size(), wanted.tensors);
  EXPECT_EQ(checkpoint->vocabulary().tokens.size(), wanted.tokens);
  EXPECT_EQ(checkpoint->vocabulary().merges.size(), wanted.merges);
  ASSERT_FALSE(wanted.values.empty());
  for (const WantedValue& value : wanted.values) {
    const TensorInfo* info = checkpoint->find(value.tensor);
    ASSERT_NE(info, nullptr) << value.tensor;
    EXPECT_EQ(info->storage, value.storage) << value.tensor;
    ASSERT_EQ(info->rows(), value.rows) << value.tensor;
    ASSERT_EQ(info->columns(), value.columns) << value.tensor;
    std::vector<float> row(value.columns);
    checkpoint->read(*info, value.row, 1, row.data());
    std::vector<float> left(value.columns);
    const auto number = static_cast<int32_t>(value.row);
    StoredRows(*checkpoint->place(*info)).read({&number, 1}, tensor(left.data(), 1, value.columns));
    EXPECT_EQ(left, row) << value.tensor << ": of a row left in the file";
    EXPECT_EQ(row[value.column], value.value) << value.tensor << " row " << value.row << " column " << value.column;
  }
}

std::string refusal(const std::string& path) {
  try {
    open_checkpoint(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kFailure);
    EXPECT_THAT(error.what(), HasSubstr(path));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  ADD_FAILURE() << path << " was opened";
  return "";
}

class Scratch : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "checkpoint_test_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& contents) const {
    write_file(folder_ + "/" + name, contents);
    return folder_ + "/" + name;
  }
  std::string folder_;
};

TEST(TinyCheckpoints, HoldGoldenValues) {
  for (const char* name : {"tiny-llama.gguf", "tiny-llama-hd64.gguf", "tiny-qwen2.gguf"}) {
    SCOPED_TRACE(name);
    expect_golden_values(tiny(name));
  }
}

TEST(TinyCheckpoints, TellTheirMetadata) {
  const std::unique_ptr<Checkpoint> llama = open_checkpoint(tiny("tiny-llama-hd64.gguf"));
  EXPECT_EQ(llama->number("block_count"), 2);
  EXPECT_EQ(llama->number("attention.head_count_kv"), 2);
  EXPECT_EQ(llama->number("attention.key_length"), 64);
  EXPECT_EQ(llama->number("rope.freq_base"), 10000);
  EXPECT_NEAR(llama->number("attention.layer_norm_rms_epsilon").value_or(0), 1e-6, 1e-12);
  EXPECT_EQ(llama->number("no_such_key"), std::nullopt);
  EXPECT_EQ(llama->text("block_count"), std::nullopt);
  EXPECT_EQ(llama->find("output.weight"), nullptr);
  EXPECT_EQ(llama->find("blk.0.attn_q.weight")->shape, (std::vector<int64_t>{256, 128}));
  EXPECT_EQ(llama->find("output_norm.weight")->rows(), 1);
}

TEST(TinyCheckpoints, TellTheirVocabulary) {
  const VocabularyData data = open_checkpoint(tiny("tiny-qwen2.gguf"))->vocabulary();
  EXPECT_EQ(data.model, "gpt2");
  EXPECT_EQ(data.pre_tokenizer, "qwen2");
  ASSERT_EQ(data.tokens.size(), 291u);
  EXPECT_EQ(data.tokens[0], "!");
  EXPECT_EQ(data.tokens[256], "\u0120t");
  EXPECT_EQ(data.merges[0], "\u0120 t");
  EXPECT_EQ(data.tokens[290], "<|im_end|>");
  ASSERT_EQ(data.token_types.size(), 291u);
  EXPECT_EQ(data.token_types[0], 1);
  EXPECT_EQ(data.token_types[290], 3);
  EXPECT_EQ(data.end, 290);
  EXPECT_EQ(data.beginning, 288);
  EXPECT_EQ(data.unknown, std::nullopt);
  EXPECT_EQ(data.adds_beginning, false);
  EXPECT_THAT(data.chat_template, HasSubstr("<|im_start|>"));
}

TEST(TinyCheckpoints, ReadAnyRangeOfRowsFromAnyThread) {
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(tiny("tiny-qwen2.gguf"));
  const TensorInfo& info = *checkpoint->find("blk.1.ffn_down.weight");
  const int64_t rows = info.rows(), columns = info.columns();
  std::vector<float> whole(rows * columns), parts(rows * columns);
  checkpoint->read(info, 0, rows, whole.data());
  checkpoint->release(info);

  std::vector<std::thread> threads;
  constexpr int64_t kStep = 37;  // does not divide the rows
  for (int64_t begin = 0; begin < rows; begin += kStep) {
    threads.emplace_back(
        [&, begin] { checkpoint->read(info, begin, std::min(kStep, rows - begin), parts.data() + begin * columns); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(whole, parts);
  EXPECT_NE(std::ranges::count(whole, 0.0f), rows * columns);
}

TEST_F(Scratch, FingerprintsFollowHeaderAndData) {
  const std::string contents = read_file(tiny("tiny-llama.gguf"));
  const uint64_t original = open_checkpoint(tiny("tiny-llama.gguf"))->fingerprint();
  EXPECT_EQ(open_checkpoint(write("copy.gguf", contents))->fingerprint(), original);
  std::string data = contents, header = contents, longer = contents + std::string(64, '\0');
  data.back() ^= 1;
  header[header.find("tiny-llama")] ^= 1;
  for (const std::string& changed : {data, header, longer}) {
    EXPECT_NE(open_checkpoint(write("changed.gguf", changed))->fingerprint(), original);
  }
}

TEST(RealModels, HoldGoldenValues) {
  int found = 0;
  for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"}) {
    SCOPED_TRACE(name);
    if (!std::filesystem::exists(real_model(name))) continue;
    expect_golden_values(real_model(name));
    ++found;
  }
  if (found == 0) GTEST_SKIP() << "no model in " << real_model("");
}

TEST_F(Scratch, RefusesWhatIsNoModel) {
  const std::string safetensors = std::string("\x40\0\0\0\0\0\0\0", 8) + "{\"weight\":{}}";
  EXPECT_THAT(refusal(folder_ + "/missing.gguf"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(write("empty.gguf", "")), HasSubstr("empty"));
  EXPECT_THAT(refusal(write("some.txt", "Once upon a time")), HasSubstr("wanted a GGUF v3"));
  EXPECT_THAT(refusal(write("one.gguf", "G")), HasSubstr("wanted a GGUF v3"));
  EXPECT_THAT(refusal(write("model.safetensors", safetensors)), HasSubstr("give the folder"));
  EXPECT_THAT(refusal(write("pointer.gguf", "version https://git-lfs.github.com/spec/v1\n")), HasSubstr("git lfs"));
  EXPECT_THAT(refusal(write("page.gguf", "<!DOCTYPE html><html>")), HasSubstr("web page"));
}

TEST_F(Scratch, RefusesAFolderAndNamesTheModelInIt) {
  EXPECT_THAT(refusal(folder_), HasSubstr("a folder"));
  write("b.gguf", "x");
  write("a.gguf", "x");
  EXPECT_THAT(refusal(folder_), HasSubstr("such as " + folder_ + "/a.gguf"));
}

}  // namespace
}  // namespace kvpareto
