#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace kvpareto {
namespace {

std::string refusal(std::string_view text, int depth = 32) {
  return message_of([&] { parse_json(text, "a.json", depth); });
}

TEST(ParseJson, ReadsValues) {
  const nlohmann::json value = parse_json("{\"a\":[1,2.5,null,true,\"\\u00e9\"],\"b\":{\"a\":1}}", "a.json");
  EXPECT_EQ(value["a"][1], 2.5);
  EXPECT_EQ(value["a"][4], "\u00e9");
  EXPECT_EQ(value["b"]["a"], 1);
}

TEST(ParseJson, RefusesInOneLine) {
  EXPECT_EQ(refusal(""), "a.json: no valid JSON at byte 1 of 0");
  EXPECT_EQ(refusal("{\"a\":1"), "a.json: no valid JSON at byte 7 of 6");
  EXPECT_EQ(refusal("{\"a\":1} x"), "a.json: no valid JSON at byte 9 of 9");
  EXPECT_EQ(refusal("\"\xff\""), "a.json: no valid JSON at byte 2 of 3");
  EXPECT_EQ(refusal("{\"a\":1,\"a\":2}"), "a.json: the name \"a\" stands twice in one JSON object");
  EXPECT_EQ(refusal("{\"a\":{\"x\\n\":1,\"x\\n\":2}}"), "a.json: the name \"x?\" stands twice in one JSON object");
  EXPECT_EQ(refusal("{\"a\":{\"a\":1},\"b\":{\"a\":2}}"), "no error");
}

TEST(ParseJson, BoundsDepth) {
  EXPECT_EQ(refusal("[[1]]", 2), "no error");
  EXPECT_EQ(refusal("[[[1]]]", 2), "a.json: JSON nested deeper than 2 levels");
  EXPECT_EQ(refusal(std::string(1 << 20, '[')), "a.json: JSON nested deeper than 32 levels");
}

TEST(QuotedName, FitsOneLine) {
  EXPECT_EQ(quoted_name("blk.0"), "\"blk.0\"");
  EXPECT_EQ(quoted_name("a\nb\x80"), "\"a?b?\"");
  EXPECT_EQ(quoted_name(std::string(1000, 'x')), "\"" + std::string(80, 'x') + "...\"");
}

}  // namespace
}  // namespace kvpareto
