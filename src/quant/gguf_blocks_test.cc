#include "quant/gguf_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace kvpareto {
namespace {

constexpr int64_t kGoldenValues = 512;  // as testdata/gguf_blocks/make.py writes them

std::vector<uint8_t> golden_bytes(std::string_view name) {
  std::ifstream file(std::string(KVPARETO_TESTDATA "/gguf_blocks/") + std::string(name) + ".golden", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class GgufBlocks : public testing::TestWithParam<GgufBlockFormat> {};

// Bit for bit: every product and sum is one rounding in f32, in the order of the Python package that made the values.
TEST_P(GgufBlocks, DecodesGoldenValues) {
  const GgufBlockFormat& format = GetParam();
  const std::vector<uint8_t> bytes = golden_bytes(format.name);
  const int64_t count = kGoldenValues / format.values;
  ASSERT_EQ(bytes.size(), static_cast<size_t>(count * format.bytes + kGoldenValues * 4));
  std::vector<float> wanted(kGoldenValues), found(kGoldenValues);
  std::memcpy(wanted.data(), bytes.data() + count * format.bytes, wanted.size() * sizeof(float));

  format.decode(bytes.data(), count, found.data());
  for (int64_t i = 0; i < kGoldenValues; ++i) {
    ASSERT_EQ(std::memcmp(&wanted[i], &found[i], sizeof(float)), 0)
        << format.name << " value " << i << ": wanted " << wanted[i] << ", found " << found[i];
  }
}

TEST_P(GgufBlocks, DecodesUnalignedBytesAndWritesNoMoreThanAsked) {
  const GgufBlockFormat& format = GetParam();
  std::vector<uint8_t> bytes = golden_bytes(format.name);
  std::vector<float> aligned(format.values), found(format.values + 1, -123.0f);
  format.decode(bytes.data(), 1, aligned.data());
  bytes.insert(bytes.begin(), 0xff);
  format.decode(bytes.data() + 1, 1, found.data());
  EXPECT_EQ(std::memcmp(aligned.data(), found.data(), aligned.size() * sizeof(float)), 0);
  EXPECT_EQ(found.back(), -123.0f);
}

TEST_P(GgufBlocks, IsFoundByItsNumber) {
  const GgufBlockFormat* found = find_gguf_block_format(GetParam().id);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->name, GetParam().name);
  EXPECT_EQ(gguf_type_name(GetParam().id), GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(All, GgufBlocks, testing::ValuesIn(gguf_block_formats().begin(), gguf_block_formats().end()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(GgufTypes, NamesAndNumbersAreUnique) {
  std::set<std::string_view> names;
  std::set<uint32_t> numbers;
  for (const GgufBlockFormat& format : gguf_block_formats()) {
    EXPECT_TRUE(names.insert(format.name).second) << format.name;
    EXPECT_TRUE(numbers.insert(format.id).second) << format.id;
  }
  EXPECT_EQ(names.size(), 15u);
}

TEST(GgufTypes, UnreadableTypesAreNamed) {
  EXPECT_EQ(find_gguf_block_format(16), nullptr);
  EXPECT_EQ(gguf_type_name(16), "IQ2_XXS");
  EXPECT_EQ(gguf_type_name(4), "number 4");  // retired by ggml
}

}  // namespace
}  // namespace kvpareto
