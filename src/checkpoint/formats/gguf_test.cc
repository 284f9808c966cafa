#include "checkpoint/formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing.h"
#include "checkpoint/formats/gguf_metadata.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

constexpr const char* kPath = "folder/model.gguf";

// The message with which these bytes are refused, if they are; reads all that an opened file offers.
std::optional<std::string> refusal(const std::string& file) {
  try {
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size());
    const std::unique_ptr<Checkpoint> checkpoint = open_gguf(bytes, kPath);
    checkpoint->vocabulary();
    checkpoint->fingerprint();
    std::vector<float> row;
    for (const TensorInfo& info : checkpoint->tensors()) {
      row.resize(info.columns());
      checkpoint->read(info, info.rows() - 1, 1, row.data());
      checkpoint->release(info);
    }
    return std::nullopt;
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kFailure);
    EXPECT_THAT(error.what(), HasSubstr(kPath));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
}

template <typename T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
std::string raw_text(const std::string& text) { return raw<uint64_t>(text.size()) + text; }
std::string entry(const std::string& key, GgufType type, const std::string& value) {
  return raw_text(key) + raw(type) + value;
}
std::string array_entry(const std::string& key, GgufType type, uint64_t count, const std::string& values) {
  return entry(key, GgufType::kArray, raw(type) + raw(count) + values);
}

// A sound small file whose every field can be made wrong.
struct Draft {
  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;  // fastest first, as in the file
    uint32_t type;
    uint64_t offset;
  };
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> values = {entry("general.architecture", GgufType::kString, raw_text("llama")),
                                     entry("llama.block_count", GgufType::kU32, raw<uint32_t>(1))};
  std::vector<Tensor> tensors = {{"norm.weight", {8}, 0, 0}, {"token_embd.weight", {32, 4}, 8, 32}};
  std::optional<uint64_t> value_count, tensor_count;
  size_t alignment = 32, data_bytes = 32 + 4 * 34;

  std::string header() const {
    std::string file =
        magic + raw(version) + raw(tensor_count.value_or(tensors.size())) + raw(value_count.value_or(values.size()));
    for (const std::string& value : values) file += value;
    for (const Tensor& tensor : tensors) {
      file += raw_text(tensor.name) + raw(static_cast<uint32_t>(tensor.shape.size()));
      for (const uint64_t size : tensor.shape) file += raw(size);
      file += raw(tensor.type) + raw(tensor.offset);
    }
    return file;
  }
  std::string file() const {
    std::string file = header();
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + std::string(data_bytes, '\1');
  }
};

struct Hostile {
  const char* what;
  std::function<void(Draft&)> edit;
  const char* message;  // part of it
};

const uint64_t kHuge = ~uint64_t{0}, kHalf = uint64_t{1} << 63;

const Hostile kHostile[] = {
    {"version 1", [](Draft& d) { d.version = 1; }, "GGUF version 1, wanted 3"},
    {"version 2", [](Draft& d) { d.version = 2; }, "GGUF version 2, wanted 3"},
    {"version 4", [](Draft& d) { d.version = 4; }, "GGUF version 4, wanted 3"},
    {"big endian", [](Draft& d) { d.version = 0x03000000; }, "big-endian"},
    {"huge value count", [](Draft& d) { d.value_count = kHuge; }, "metadata values"},
    {"one value too many", [](Draft& d) { d.value_count = 3; }, "corrupt"},
    {"huge tensor count", [](Draft& d) { d.tensor_count = kHuge; }, "tensors but has only"},
    {"one tensor too many", [](Draft& d) { d.tensor_count = 3; }, "tensor"},
    {"key longer than the file", [](Draft& d) { d.values.push_back(raw<uint64_t>(1000) + "key"); }, "a metadata key"},
    {"key of huge length", [](Draft& d) { d.values.push_back(raw(kHuge) + "key"); }, "a metadata key"},
    {"empty key", [](Draft& d) { d.values.push_back(entry("", GgufType::kU8, "1")); }, "wanted 1 to 65535"},
    {"duplicate key", [](Draft& d) { d.values.push_back(d.values[1]); }, "appears twice"},
    {"unknown value type", [](Draft& d) { d.values.push_back(entry("k", GgufType{13}, "1")); }, "type number 13"},
    {"string of huge length", [](Draft& d) { d.values.push_back(entry("k", GgufType::kString, raw(kHuge))); },
     "metadata \"k\""},
    {"array of unknown type", [](Draft& d) { d.values.push_back(array_entry("k", GgufType{99}, 1, "1")); },
     "type number 99"},
    {"array of huge count", [](Draft& d) { d.values.push_back(array_entry("k", GgufType::kU32, kHuge, "1234")); },
     "elements in metadata \"k\""},
    {"array whose bytes overflow",
     [](Draft& d) { d.values.push_back(array_entry("k", GgufType::kU64, kHalf >> 2, "12345678")); }, "elements in"},
    {"array of strings of huge count",
     [](Draft& d) { d.values.push_back(array_entry("k", GgufType::kString, kHuge, raw_text("a"))); }, "strings in"},
    {"arrays nested without end",
     [](Draft& d) {
       std::string nest;
       for (int i = 0; i < 1000; ++i) nest += raw(GgufType::kArray) + raw<uint64_t>(1);
       d.values.push_back(entry("k", GgufType::kArray, nest));
     },
     "nests arrays"},
    {"newlines in a name",
     [](Draft& d) {
       d.tensors[1].name = "two\nlines\x1b[2J";
       d.tensors[1].type = 16;
     },
     "two?lines?[2J"},
    {"no architecture", [](Draft& d) { d.values.erase(d.values.begin()); }, "general.architecture is missing"},
    {"architecture no string", [](Draft& d) { d.values[0] = entry("general.architecture", GgufType::kU8, "1"); },
     "general.architecture"},
    {"architecture with a newline",
     [](Draft& d) { d.values[0] = entry("general.architecture", GgufType::kString, raw_text("lla\nma")); },
     "general.architecture"},
    {"one part of several",
     [](Draft& d) { d.values.push_back(entry("split.count", GgufType::kU16, raw<uint16_t>(3))); },
     "one of 3 parts of a model"},
    {"alignment 0", [](Draft& d) { d.values.push_back(entry("general.alignment", GgufType::kU32, raw<uint32_t>(0))); },
     "power of two"},
    {"alignment 48",
     [](Draft& d) { d.values.push_back(entry("general.alignment", GgufType::kU32, raw<uint32_t>(48))); },
     "found 48 as u32"},
    {"alignment of another type",
     [](Draft& d) { d.values.push_back(entry("general.alignment", GgufType::kU64, raw<uint64_t>(32))); },
     "found 32 as u64"},
    {"alignment larger than the file",
     [](Draft& d) { d.values.push_back(entry("general.alignment", GgufType::kU32, raw<uint32_t>(1u << 31))); },
     "multiple of the alignment"},
    {"empty tensor name", [](Draft& d) { d.tensors[0].name = ""; }, "a tensor's name"},
    {"duplicate tensor", [](Draft& d) { d.tensors[1].name = d.tensors[0].name; }, "appears twice"},
    {"no dimensions", [](Draft& d) { d.tensors[0].shape = {}; }, "has 0 dimensions"},
    {"five dimensions",
     [](Draft& d) {
       d.tensors[0].shape = {8, 1, 1, 1, 1};
     },
     "has 5 dimensions"},
    {"a size of zero",
     [](Draft& d) {
       d.tensors[1].shape = {32, 0};
     },
     "has 0 as its size"},
    {"a negative size", [](Draft& d) { d.tensors[0].shape = {kHuge}; }, "as its size"},
    {"sizes whose product overflows",
     [](Draft& d) {
       d.tensors[1].shape = {1u << 31, 1u << 31, 1u << 31};
     },
     "does not fit 64 bits"},
    {"bytes that overflow", [](Draft& d) { d.tensors[0].shape = {kHalf >> 1}; }, "does not fit 64 bits"},
    {"columns not a multiple of the block",
     [](Draft& d) {
       d.tensors[1].shape = {33, 4};
     },
     "has 33 columns, not a multiple of the 32 values in a Q8_0 block"},
    {"unreadable type", [](Draft& d) { d.tensors[1].type = 16; }, "stored as IQ2_XXS, which this program cannot read"},
    {"unreadable type: what is readable", [](Draft& d) { d.tensors[1].type = 16; }, "Q4_K Q5_K Q6_K"},
    {"unknown type", [](Draft& d) { d.tensors[1].type = 12345; }, "stored as number 12345"},
    {"misaligned offset", [](Draft& d) { d.tensors[1].offset = 33; }, "not a multiple of the alignment 32"},
    {"offset beyond the end", [](Draft& d) { d.tensors[1].offset = 1 << 20; }, "truncated download?"},
    {"offset that overflows", [](Draft& d) { d.tensors[1].offset = kHuge - 31; }, "truncated download?"},
    {"tensors that overlap", [](Draft& d) { d.tensors[1].offset = 0; }, "overlap"},
    {"data one byte short", [](Draft& d) { d.data_bytes -= 1; }, "tensor \"token_embd.weight\" needs 136 bytes"},
    {"tokens no strings", [](Draft& d) { d.values.push_back(entry("tokenizer.ggml.tokens", GgufType::kU8, "1")); },
     "should be an array of strings, found u8"},
    {"more token types than tokens",
     [](Draft& d) { d.values.push_back(array_entry("tokenizer.ggml.token_type", GgufType::kI32, 1, raw<int32_t>(1))); },
     "1 entries for 0 tokens"},
    {"token type too large",
     [](Draft& d) {
       d.values.push_back(array_entry("tokenizer.ggml.token_type", GgufType::kU32, 1, raw<uint32_t>(1u << 31)));
     },
     "32-bit integers"},
    {"end token outside the vocabulary",
     [](Draft& d) { d.values.push_back(entry("tokenizer.ggml.eos_token_id", GgufType::kU32, raw<uint32_t>(7))); },
     "tokenizer.ggml.eos_token_id is 7"},
    {"end token no number",
     [](Draft& d) { d.values.push_back(entry("tokenizer.ggml.eos_token_id", GgufType::kF32, raw<uint32_t>(~0u))); },
     "should be a token's number"},
};

TEST(Gguf, OpensASoundDraft) {
  EXPECT_EQ(refusal(Draft().file()), std::nullopt);
  Draft wide;
  wide.values.push_back(entry("general.alignment", GgufType::kU32, raw<uint32_t>(64)));
  wide.alignment = 64;
  wide.tensors[1].offset = 64;
  wide.data_bytes = 64 + 4 * 34;
  EXPECT_EQ(refusal(wide.file()), std::nullopt);
}

TEST(Gguf, OpensAFileWithoutTensors) {
  Draft draft;
  draft.tensors.clear();
  EXPECT_EQ(refusal(draft.header()), std::nullopt);
}

TEST(Gguf, ReadsEveryTypeOfNumber) {
  Draft draft;
  draft.values.push_back(entry("llama.i8", GgufType::kI8, raw<int8_t>(-3)));
  draft.values.push_back(entry("llama.u16", GgufType::kU16, raw<uint16_t>(65535)));
  draft.values.push_back(entry("llama.i64", GgufType::kI64, raw<int64_t>(-5000000000)));
  draft.values.push_back(entry("llama.f64", GgufType::kF64, raw(0.125)));
  draft.values.push_back(entry("llama.bool", GgufType::kBool, "\2"));
  draft.values.push_back(entry("llama.nan", GgufType::kF32, raw<uint32_t>(~0u)));
  draft.values.push_back(array_entry("llama.list", GgufType::kU8, 1, "1"));
  const std::string file = draft.file();
  const auto checkpoint = open_gguf({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, kPath);
  EXPECT_EQ(checkpoint->number("i8"), -3);
  EXPECT_EQ(checkpoint->number("u16"), 65535);
  EXPECT_EQ(checkpoint->number("i64"), -5e9);
  EXPECT_EQ(checkpoint->number("f64"), 0.125);
  EXPECT_EQ(checkpoint->number("bool"), 1);
  EXPECT_EQ(checkpoint->number("nan"), std::nullopt);
  EXPECT_EQ(checkpoint->number("list"), std::nullopt);
}

TEST(Gguf, RefusesHostileFilesInOneClearLine) {
  for (const Hostile& hostile : kHostile) {
    Draft draft;
    hostile.edit(draft);
    const std::optional<std::string> message = refusal(draft.file());
    ASSERT_TRUE(message.has_value()) << hostile.what << " was opened";
    EXPECT_THAT(*message, HasSubstr(hostile.message)) << hostile.what;
  }
}

TEST(Gguf, RefusesEveryTruncationOfADraft) {
  const std::string file = Draft().file();
  for (size_t size = 4; size < file.size(); ++size) {
    EXPECT_TRUE(refusal(file.substr(0, size)).has_value()) << size << " of " << file.size() << " bytes";
  }
}

TEST(Gguf, RefusesATruncatedModel) {
  const std::string file = read_file(KVPARETO_TESTDATA "/tiny/tiny-llama.gguf");
  for (size_t i = 1; i < 50; ++i) {
    const std::optional<std::string> message = refusal(file.substr(0, file.size() * i / 50));
    ASSERT_TRUE(message.has_value()) << i << "/50 of the file was opened";
    EXPECT_THAT(*message, HasSubstr("truncated"));
  }
}

// Whatever a header says, the file opens or is refused; sanitizers see to the rest.
TEST(Gguf, SurvivesRandomDamageToTheHeader) {
  constexpr size_t kHeader = 12000;  // of tiny-llama.gguf, about
  const std::string model = read_file(KVPARETO_TESTDATA "/tiny/tiny-llama.gguf"), draft = Draft().file();
  Random random(1);
  int refused = 0, opened = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string& original = round % 2 == 0 ? model : draft;
    std::string damaged = original;
    const size_t flips = 1 + random.below(4);
    for (size_t i = 0; i < flips; ++i) {
      const size_t at = random.below(std::min(kHeader, damaged.size()));
      damaged[at] = static_cast<char>(random.below(4) == 0 ? 0xff : random.next());
    }
    ++(refusal(damaged).has_value() ? refused : opened);
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(opened, 100);
}

// testdata/folders holds a model in two parts, either of which may be given.
TEST(GgufParts, AreOneModel) {
  const std::string first = KVPARETO_TESTDATA "/folders/tiny-llama3-00001-of-00002.gguf";
  const std::string second = KVPARETO_TESTDATA "/folders/tiny-llama3-00002-of-00002.gguf";
  const auto model = open_gguf(MappedFile(first)), same = open_gguf(MappedFile(second));
  EXPECT_EQ(same->path(), first);
  EXPECT_EQ(same->fingerprint(), model->fingerprint());
  EXPECT_EQ(model->file_bytes(), MappedFile(first).bytes().size() + MappedFile(second).bytes().size());
  EXPECT_EQ(model->number("block_count"), 2);
  for (const char* name : {"token_embd.weight", "output_norm.weight", "blk.1.ffn_down.weight", "rope_freqs.weight"}) {
    ASSERT_NE(model->find(name), nullptr) << name;
    std::vector<float> row(static_cast<size_t>(model->find(name)->columns()));
    model->read(*model->find(name), 0, 1, row.data());
    model->release(*model->find(name));
    EXPECT_GT(std::count_if(row.begin(), row.end(), [](float x) { return x != 0; }), 0) << name;
  }
}

TEST(GgufParts, RefusalsNameThePart) {
  const TemporaryFolder folder;
  const auto copy = [&](int part, const std::string& name) {
    std::filesystem::copy_file(fmt::format("{}/folders/tiny-llama3-{:05}-of-00002.gguf", KVPARETO_TESTDATA, part),
                               folder / name, std::filesystem::copy_options::overwrite_existing);
  };
  const auto refused = [&](const std::string& name) {
    return message_of([&] { open_gguf(MappedFile(folder / name)); });
  };
  copy(1, "a.gguf");
  EXPECT_THAT(refused("a.gguf"),
              testing::HasSubstr("one of 2 parts of a model, whose name should end in -00001-of-00002.gguf"));
  copy(1, "a-00001-of-00002.gguf");
  EXPECT_THAT(refused("a-00001-of-00002.gguf"), testing::HasSubstr("a-00002-of-00002.gguf: cannot open"));
  copy(1, "a-00002-of-00002.gguf");
  EXPECT_THAT(refused("a-00001-of-00002.gguf"),
              testing::HasSubstr("should be part 2 of 2, says that it is part 1 of 2"));
}

}  // namespace
}  // namespace kvpareto
