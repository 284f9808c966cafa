#include "checkpoint/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/file.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "base/testing.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof size);
  return bytes + header + std::string(data_bytes, '\0');
}
SafetensorsContents parse(const std::string& bytes) {
  return parse_safetensors({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "a.safetensors");
}
std::string refusal(const std::string& bytes) {
  const std::string message = message_of([&] { parse(bytes); });
  EXPECT_EQ(message.find('\n'), message.npos);
  return message;
}
std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}";
}

TEST(Safetensors, ReadsItsTableOfContents) {
  const std::string header = "{" + entry("b", "BF16", "2,3", "4,16") + "," + entry("a", "F32", "", "0,4") +
                             ",\"__metadata__\":{\"format\":\"pt\"}}";
  const SafetensorsContents contents = parse(file_of(header, 16));
  ASSERT_EQ(contents.tensors.size(), 2u);
  EXPECT_EQ(contents.data_begin, 8 + header.size());
  EXPECT_EQ(contents.tensors[0].name, "a");
  EXPECT_EQ(contents.tensors[0].shape, (std::vector<int64_t>{1})) << "a scalar";
  EXPECT_EQ(contents.tensors[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(contents.tensors[1].offset, contents.data_begin + 4);
  EXPECT_EQ(contents.tensors[1].bytes, 12u);
}

TEST(Safetensors, RefusesUnsoundFilesInOneLine) {
  EXPECT_THAT(refusal("abc"), HasSubstr("3 bytes, too short"));
  EXPECT_THAT(refusal(std::string(8, '\xff') + "{"), HasSubstr("the format allows 100000000"));
  EXPECT_THAT(refusal(file_of("{}", 0).substr(0, 9)), HasSubstr("truncated download?"));
  EXPECT_THAT(refusal(file_of("[]", 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal(file_of("{\"a\":", 0)), HasSubstr("no valid JSON"));
  EXPECT_THAT(refusal(file_of("{\"a\":1}", 0)), HasSubstr("tensor \"a\" has no dtype"));
  EXPECT_THAT(refusal(file_of("{\"a\":{\"dtype\":1}}", 0)), HasSubstr("tensor \"a\" has a wrong dtype"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {entry("a", "Q4", "1", "0,4"), "type \"Q4\", which safetensors does not know"},
      {entry("a", "F32", "0", "0,0"), "has a shape with"},
      {entry("a", "F32", "-1", "0,4"), "has a shape with"},
      {entry("a", "F32", "1.5", "0,4"), "has a shape with"},
      {entry("a", "F32", "4611686018427387904,4611686018427387904", "0,4"), "has a shape with"},
      {entry("a", "F32", "1,1,1,1,1,1,1,1,1", "0,4"), "wrong shape"},
      {entry("a", "F32", "2", "0,4"), "needs 8 bytes, its offsets are 0 to 4"},
      {entry("a", "F32", "1", "4,0"), "its offsets are 4 to 0"},
      {entry("a", "F32", "1", "0,4,8"), "wrong data_offsets"},
      {entry("a", "F32", "1", "-4,0"), "wrong data_offsets"},
      {entry("a", "F32", "1", "8,12"), "ends at byte 12 of the data but the file has 8"},
      {entry("a", "F32", "1", "4,8"), "should begin at byte"},
      {entry("a", "F32", "1", "0,4"), "4 bytes behind the last tensor"},
      {entry("a", "F32", "2", "0,8") + "," + entry("b", "F32", "1", "4,8"), "should begin at byte"},
      {entry("a", "F32", "1", "0,4") + "," + entry("a", "F32", "1", "4,8"), "stands twice"},
  };
  for (const auto& [entries, wanted] : cases) {
    EXPECT_THAT(refusal(file_of("{" + entries + "}", 8)), HasSubstr(wanted)) << entries;
  }
}

// Seed 5: bytes changed at random never read beyond the file.
TEST(Safetensors, SurvivesDamage) {
  const std::string sound =
      file_of("{" + entry("a", "F32", "2,2", "0,16") + "," + entry("b", "F16", "4", "16,24") + "}", 24);
  Random random(5);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = sound;
    for (uint64_t i = 0; i <= random.below(3); ++i)
      damaged[random.below(damaged.size())] = static_cast<char>(random.next());
    refused += error_of([&] { parse(damaged); }).has_value();
  }
  EXPECT_GT(refused, 2000);
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryFolder folder;
  const std::string path = folder / "out.safetensors";
  const std::vector<uint8_t> first = {1, 2, 3, 4}, second = {5, 6, 7, 8, 9, 10};
  const auto whole = [](const std::vector<uint8_t>& bytes) {
    return [&bytes](const auto& put) {
      put(std::span(bytes).first(1));
      put(std::span(bytes).subspan(1));
    };
  };
  const std::vector<SafetensorsSource> sources = {{{"z", "F32", {1}, 0, 4}, whole(first)},
                                                  {{"a", "BF16", {3, 1}, 0, 6}, whole(second)}};
  write_safetensors(path, sources, {{"format", "pt"}});
  const MappedFile file(path);
  const SafetensorsContents contents = parse_safetensors(file.bytes(), path);
  ASSERT_EQ(contents.tensors.size(), 2u);
  EXPECT_EQ(contents.data_begin % 8, 0u);
  EXPECT_EQ(contents.tensors[0].name, "z") << "in the order given";
  EXPECT_EQ(std::memcmp(file.bytes().data() + contents.tensors[1].offset, second.data(), second.size()), 0);

  const std::vector<SafetensorsSource> short_one = {{{"z", "F32", {2}, 0, 8}, whole(first)}};
  EXPECT_THAT(message_of([&] { write_safetensors(folder / "b", short_one, {}); }),
              HasSubstr("tensor z has 4 bytes, 8 were to be written"));
  EXPECT_FALSE(std::filesystem::exists(folder / "b"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "no temporary file is left";
}

}  // namespace
}  // namespace kvpareto
