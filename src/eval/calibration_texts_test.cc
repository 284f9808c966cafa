#include "eval/calibration_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/testing.h"
#include "eval/testing.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

constexpr CalibrationSize kSmall{.sequences = 6, .tokens = 32, .seed = 1};

const TinyModel& tiny() {
  static const TinyModel model("tiny-llama.gguf");
  return model;
}

Model load() { return load_model(*tiny().checkpoint, *tiny().backend); }

// As KVPARETO_DATA would name it, with so many lines.
void write_data(const TemporaryFolder& folder, int lines, const std::string& word) {
  std::filesystem::create_directories(folder / "calibration");
  std::string text;
  for (int i = 0; i < lines; ++i) {
    text += "{\"text\": \"";
    for (int j = 0; j < 60; ++j) text += word + " " + std::to_string(i) + " ";
    text += "\"}\n";
  }
  write_file(folder / "calibration/calib_prose_512.jsonl", text);
}

TEST(CalibrationTexts, AThirdOfTheDataFolderAndTheRestSampled) {
  const TemporaryFolder folder;
  write_data(folder, 4, "sea");
  const CalibrationTexts texts("", folder.path(), tiny().tokenizer, kSmall);
  EXPECT_EQ(texts.sampled(), 4);
  EXPECT_EQ(texts.origin(), "2 of calib_prose_512.jsonl, 4 self-sampled, 32 tokens each, seed 1");
  const Calibration made = texts.make(load);
  ASSERT_EQ(made.sequences.size(), 6u);
  for (const auto& tokens : made.sequences) EXPECT_EQ(tokens.size(), 32u);
  EXPECT_THAT(tiny().tokenizer.decode(made.sequences[1]), HasSubstr("sea 1 sea 1"));
  EXPECT_EQ(texts.make(load).hash(), made.hash());
}

TEST(CalibrationTexts, AFileNeedsNoModel) {
  const TemporaryFolder folder;
  write_data(folder, 6, "sea");
  const CalibrationTexts texts(folder / "calibration/calib_prose_512.jsonl", "", tiny().tokenizer, kSmall);
  EXPECT_EQ(texts.sampled(), 0);
  const Calibration made = texts.make([]() -> Model { throw std::logic_error("loaded"); });
  EXPECT_EQ(made.sequences.size(), 6u);
}

TEST(CalibrationTexts, AllSampledWithoutAFile) {
  const TemporaryFolder folder;
  for (const char* file : {"", kSelfSampled}) {
    EXPECT_EQ(CalibrationTexts(file, folder.path(), tiny().tokenizer, kSmall).sampled(), 6) << file;
  }
  write_data(folder, 4, "sea");
  EXPECT_EQ(CalibrationTexts(kSelfSampled, folder.path(), tiny().tokenizer, kSmall).sampled(), 6);
}

TEST(CalibrationTexts, TheHashTellsWhatWouldBeMade) {
  const TemporaryFolder sea, land;
  write_data(sea, 4, "sea");
  write_data(land, 4, "land");
  const auto hash = [&](const std::string& file, const std::string& data, uint64_t seed = 1) {
    return CalibrationTexts(file, data, tiny().tokenizer, {6, 32, seed}).hash();
  };
  EXPECT_EQ(hash("", sea.path()), hash("", sea.path()));
  EXPECT_NE(hash("", sea.path()), hash("", land.path()));
  EXPECT_NE(hash("", sea.path()), hash("", ""));
  EXPECT_NE(hash("", sea.path()), hash("", sea.path(), 2));
  EXPECT_EQ(hash(kSelfSampled, sea.path()), hash("", ""));
}

TEST(CalibrationTexts, TooFewLines) {
  const TemporaryFolder folder;
  write_data(folder, 1, "sea");
  EXPECT_THAT(message_of([&] { CalibrationTexts("", folder.path(), tiny().tokenizer, kSmall); }),
              HasSubstr("wanted 2 lines of at least 32 tokens, found 1"));
}

}  // namespace
}  // namespace kvpareto
