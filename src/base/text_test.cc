#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace kvpareto {
namespace {
using ::testing::ElementsAre;

TEST(Text, HumanBytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(10 * 1024), "10.0 KiB");
  EXPECT_EQ(human_bytes(269.1 * 1024 * 1024), "269.1 MiB");
  EXPECT_EQ(human_bytes(3.5 * 1024 * 1024 * 1024), "3.50 GiB");
  EXPECT_EQ(human_bytes(5000.0 * 1024 * 1024 * 1024 * 1024), "5000.0 TiB");
  EXPECT_EQ(human_bytes(-2048), "-2.00 KiB");
}

TEST(Text, HumanSeconds) {
  EXPECT_EQ(human_seconds(0), "0:00");
  EXPECT_EQ(human_seconds(-5), "0:00");
  EXPECT_EQ(human_seconds(59.6), "1:00");
  EXPECT_EQ(human_seconds(187), "3:07");
  EXPECT_EQ(human_seconds(3723), "1:02:03");
}

TEST(Text, NearestChoice) {
  const std::vector<std::string> choices = {"int8", "int4", "bf16"};
  EXPECT_EQ(nearest("int5", choices), "int8");  // of equals the first
  EXPECT_EQ(nearest("f16", choices), "bf16");
  EXPECT_EQ(nearest("", choices), "int8");
  EXPECT_EQ(nearest("amx", std::vector<std::string>{"avx2", "amx_bf16"}), "amx_bf16");
  EXPECT_EQ(nearest("int4", {}), "");
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_THAT(split("a,b,,c", ','), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",", ','), ElementsAre("", ""));
}

TEST(Text, JoinUndoesSplit) {
  EXPECT_TRUE(rc::check("join(split(text)) is text",
                        [](const std::string& text) { RC_ASSERT(join(split(text, 'a'), "a") == text); }));
}

TEST(Text, AChoiceIsNearestToItself) {
  EXPECT_TRUE(rc::check("a word among the choices is found", [] {
    const auto choices = *rc::gen::nonEmpty<std::vector<std::string>>();
    const std::string word = *rc::gen::elementOf(choices);
    RC_ASSERT(nearest(word, choices) == word);
  }));
}

TEST(TakeNumber, TakesDigitsAndNothingElse) {
  const auto taken = [](std::string_view text) {
    const std::optional<int> number = take_number(text);
    return std::pair(number, std::string(text));
  };
  EXPECT_EQ(taken("64.had"), std::pair(std::optional(64), std::string(".had")));
  EXPECT_EQ(taken("7"), std::pair(std::optional(7), std::string()));
  for (const char* text : {"", "h64", "-3", "+3", " 3", "99999999999x"}) {
    EXPECT_EQ(taken(text), std::pair(std::optional<int>(), std::string(text)));
  }
}

TEST(CsvCell, QuotesWhatHoldsASeparator) {
  for (const char* plain : {"", "k4v4g64", "0.5 MiB; more", "it's"}) EXPECT_EQ(csv_cell(plain), plain);
  EXPECT_EQ(csv_cell("k16v16,7:k4"), "\"k16v16,7:k4\"");
  EXPECT_EQ(csv_cell("a \"b\""), "\"a \"\"b\"\"\"");
  EXPECT_EQ(csv_cell("two\nlines"), "\"two\nlines\"");
  EXPECT_EQ(csv_cell("of\r\nDOS"), "\"of\r\nDOS\"");
}

}  // namespace
}  // namespace kvpareto
