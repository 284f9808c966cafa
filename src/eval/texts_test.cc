#include "eval/texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/testing.h"
#include "eval/testing.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;

const TinyModel& tiny() {
  static const TinyModel model("tiny-llama.gguf");
  return model;
}

std::string prose(int words) {
  std::string text;
  for (int i = 0; i < words; ++i) text += "word" + std::to_string(i) + (i % 9 == 8 ? ".\n" : " ");
  return text;
}

TEST(TokenFile, IdsAreUsedAsTheyAre) {
  const TemporaryFolder folder;
  write_file(folder / "ids.json", "[[0, 5, 290], [7]]");
  const auto texts = texts_of_token_file(folder / "ids.json", 291);
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_THAT(texts[0].tokens, ::testing::ElementsAre(0, 5, 290));
  EXPECT_THAT(texts[1].tokens, ::testing::ElementsAre(7));
  EXPECT_EQ(texts[0].origin, "ids.json");
}

TEST(TokenFile, HostileFilesAreOneClearLine) {
  const TemporaryFolder folder;
  const std::string path = folder / "ids.json";
  const auto message = [&](const std::string& contents) {
    write_file(path, contents);
    return message_of([&] { texts_of_token_file(path, 100); });
  };
  const std::pair<std::string, std::string> cases[] = {
      {"[[1, 2", "no valid JSON"},
      {"\xff\xfe\x01", "no valid JSON"},
      {"{\"ids\": [1]}", "object"},
      {"[]", "empty array"},
      {"[[]]", "text 0"},
      {"[[1], 5]", "text 1"},
      {"[[1, 100]]", "ids 0 to 99, found 100 in text 0, place 1"},
      {"[[-1]]", "found -1"},
      {"[[1.5]]", "found 1.5"},
      {"[[18446744073709551615]]", "found 18446744073709551615"},
      {"[[99999999999999999999999]]", "e+22 in text 0"},
      {"[[\"a\"]]", "found string"},
      {"[[null]]", "found null"},
      {"[[[1]]]", "found array"},
      {std::string(200000, '['), "no valid JSON"},
      {std::string(200000, '[') + std::string(200000, ']'), "found array"},
  };
  for (const auto& [contents, wanted] : cases) {
    const std::string found = message(contents);
    EXPECT_THAT(found, HasSubstr(wanted)) << contents.substr(0, 40);
    EXPECT_THAT(found, HasSubstr(path));
    EXPECT_EQ(found.find('\n'), std::string::npos);
  }
  EXPECT_THAT(message_of([&] { texts_of_token_file(folder / "none.json", 100); }), HasSubstr("none.json"));
}

TEST(FileTexts, AreDisjointStretchesOfTheFile) {
  const TemporaryFolder folder;
  const std::string contents = prose(4000), path = folder / "prose.txt";
  write_file(path, contents);
  const auto texts = texts_of_file(path, tiny().tokenizer, {4, 300, 1});
  ASSERT_EQ(texts.size(), 4u);
  size_t end = 0;
  for (const Text& text : texts) {
    EXPECT_EQ(text.tokens.size(), 300u);
    EXPECT_EQ(text.origin, "prose.txt, seed 1");
    const std::string written = tiny().tokenizer.decode(text.tokens);
    const size_t begin = contents.find(written);
    ASSERT_NE(begin, std::string::npos);
    EXPECT_GE(begin, end);
    end = begin + written.size();
  }
}

TEST(FileTexts, TheSeedChoosesThePlaces) {
  const TemporaryFolder folder;
  write_file(folder / "prose.txt", prose(4000));
  const auto tokens = [&](uint64_t seed) {
    return texts_of_file(folder / "prose.txt", tiny().tokenizer, {2, 100, seed})[0].tokens;
  };
  EXPECT_EQ(tokens(1), tokens(1));
  EXPECT_NE(tokens(1), tokens(2));
}

TEST(FileTexts, ALargeFileIsSearchedInPart) {
  const TemporaryFolder folder;
  std::string contents;
  for (int i = 0; i < 40; ++i) contents += prose(4000) + "\xc3\xa9\xe2\x82\xac";
  write_file(folder / "long.txt", contents);
  const auto texts = texts_of_file(folder / "long.txt", tiny().tokenizer, {3, 50, 9});
  for (const Text& text : texts) EXPECT_NE(contents.find(tiny().tokenizer.decode(text.tokens)), std::string::npos);
}

TEST(FileTexts, TooShortTellsHowLongItMustBe) {
  const TemporaryFolder folder;
  const std::string path = folder / "short.txt";
  write_file(path, prose(20));
  const std::string message = message_of([&] { texts_of_file(path, tiny().tokenizer, {8, 4609, 1}); });
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_THAT(message, HasSubstr("8 texts of 4609 tokens, found 132 bytes"));
  // The length it asks for is enough.
  const std::string marker = "about ";
  const int needed = std::stoi(message.substr(message.find(marker) + marker.size()));
  std::string longer = prose(40000);
  longer.resize(static_cast<size_t>(needed));
  write_file(path, longer);
  EXPECT_EQ(texts_of_file(path, tiny().tokenizer, {8, 4609, 1}).size(), 8u);
}

TEST(FileTexts, AFileOfAFewBytesIsToldAUsualLength) {
  const TemporaryFolder folder;
  write_file(folder / "hello.txt", "hello");
  const std::string message = message_of([&] { texts_of_file(folder / "hello.txt", tiny().tokenizer, {8, 101, 1}); });
  EXPECT_THAT(message, HasSubstr("about 3394, "));
}

TEST(FileTexts, SizesAreChecked) {
  EXPECT_THAT(message_of([&] { texts_of_file("x", tiny().tokenizer, {0, 100, 1}); }), HasSubstr("at least 1 text"));
  EXPECT_THAT(message_of([&] { texts_of_file("x", tiny().tokenizer, {1, 1, 1}); }), HasSubstr("at least 2 tokens"));
}

TEST(SampledTexts, HaveTheirLengthAndFollowTheSeed) {
  const auto sample = [](uint64_t seed) { return sample_texts(tiny().model, tiny().tokenizer, {3, 700, seed}); };
  double last = 0;
  const auto texts = sample_texts(tiny().model, tiny().tokenizer, {3, 700, 1}, [&](double part) {
    EXPECT_GE(part, last);
    last = part;
  });
  EXPECT_DOUBLE_EQ(last, 1);
  ASSERT_EQ(texts.size(), 3u);
  const auto again = sample(1), other = sample(2);
  std::set<std::vector<int32_t>> different;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(texts[i].tokens.size(), 700u);
    EXPECT_EQ(texts[i].tokens, again[i].tokens);
    EXPECT_EQ(texts[i].origin, "self-sampled, seed 1");
    different.insert(texts[i].tokens);
    different.insert(other[i].tokens);
  }
  EXPECT_EQ(different.size(), 6u);
}

TEST(SampledTexts, ControlTokensOnlyStartPassages) {
  const Text text = sample_texts(tiny().model, tiny().tokenizer, {1, 600, 1})[0];
  const int32_t start = *tiny().tokenizer.find("<|endoftext|>");
  EXPECT_EQ(text.tokens.front(), start);
  const auto control = [](int32_t id) { return tiny().tokenizer.decode({&id, 1}).empty(); };
  const auto starts = std::count(text.tokens.begin(), text.tokens.end(), start);
  EXPECT_EQ(std::count_if(text.tokens.begin(), text.tokens.end(), control), starts);
  EXPECT_GT(starts, 1);
  EXPECT_LT(starts, 40);
}

TEST(SampledTexts, PassagesBeginWithTheOpeningsInTurn) {
  const char* const begun[] = {"Dear Sir or Madam, we", "once"};
  double last = 0;
  const auto texts = sample_texts(
      tiny().model, tiny().tokenizer, {2, 600, 1}, [&](double part) { last = part; }, begun);
  EXPECT_DOUBLE_EQ(last, 1);
  const int32_t start = *tiny().tokenizer.find("<|endoftext|>");
  size_t passages = 0;
  for (const Text& text : texts) {
    ASSERT_EQ(text.tokens.size(), 600u);
    for (auto at = text.tokens.begin(); (at = std::find(at, text.tokens.end(), start)) != text.tokens.end(); ++at) {
      const std::vector<int32_t> wanted = tiny().tokenizer.encode(begun[passages++ % 2], false, false);
      ASSERT_GT(text.tokens.end() - at, static_cast<std::ptrdiff_t>(wanted.size()));
      EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), at + 1)) << passages;
    }
  }
  EXPECT_GE(passages, 4u);
}

TEST(DefaultTexts, FileThenDataFolderThenTheModelItself) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "wikitext2_raw");
  write_file(folder / "wikitext2_raw/wiki.test.raw", prose(500));
  write_file(folder / "mine.txt", prose(500));
  const auto origin = [&](const std::string& file, const std::string& data) {
    return default_texts(tiny().model, tiny().tokenizer, file, data, {1, 64, 3})[0].origin;
  };
  EXPECT_EQ(origin(folder / "mine.txt", folder.path()), "mine.txt, seed 3");
  EXPECT_EQ(origin("", folder.path()), "wiki.test.raw, seed 3");
  EXPECT_EQ(origin("", ""), "self-sampled, seed 3");
  EXPECT_EQ(origin("", folder / "absent"), "self-sampled, seed 3");
}

}  // namespace
}  // namespace kvpareto
