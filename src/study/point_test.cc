#include "study/point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/testing.h"

namespace kvpareto {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Point, ReadsAsItIsWritten) {
  const Point point{"w16", "k8v4g64", 256};
  EXPECT_EQ(to_text(point), "w16_k8v4g64_chunk256");
  EXPECT_EQ(parse_point("w16_k8v4g64_chunk256"), point);
  EXPECT_EQ(parse_point(to_text({})), Point{});
}

TEST(Point, TheSchemeIsNotLookedInto) {
  EXPECT_EQ(parse_point("w4g128_k4v4_layers0-2:k8v8_chunk7_chunk64"),
            (Point{"w4g128", "k4v4_layers0-2:k8v8_chunk7", 64}));
}

TEST(Point, RoundTrip) {
  EXPECT_TRUE(rc::check("parse_point(to_text(point)) is point", [] {
    const auto word = [](const std::string& letters) {
      return rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(letters)));
    };
    const Point point{*word("w0123456789gq-.:"), *word("kv0123456789_chunk,:=-"), *rc::gen::positive<int>()};
    RC_ASSERT(parse_point(to_text(point)) == point);
  }));
}

// Text that is accepted at all is the only text of its point, or a study would hold one point under two names.
TEST(Point, NoSecondSpelling) {
  EXPECT_TRUE(rc::check("accepted text is canonical", [] {
    auto text = to_text({"w16", "k8v8", *rc::gen::positive<int>()});
    const size_t at = *rc::gen::inRange<size_t>(0, text.size());
    text[at] = *rc::gen::elementOf(std::string("0_+- wkc1\n"));
    if (const auto error = error_of([&] { parse_point(text); })) {
      RC_ASSERT(error->exit() == Exit::kUsage);
    } else {
      RC_ASSERT(to_text(parse_point(text)) == text);
    }
  }));
}

class WrongPoint : public ::testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(WrongPoint, IsOneClearLine) {
  const auto& [text, what] = GetParam();
  const auto error = error_of([&] { parse_point(text); });
  ASSERT_TRUE(error) << text;
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(),
              AllOf(HasSubstr("wanted a point such as w16_k16v16_chunk256"), HasSubstr(what), Not(HasSubstr("\n"))));
  EXPECT_LT(std::string(error->what()).size(), 250u);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, WrongPoint,
    ::testing::Values(
        std::pair{"", "no _chunk"}, std::pair{"w16", "no _chunk"}, std::pair{"w16_k8v8", "no _chunk"},
        std::pair{"w16_chunk256", "no _ between"}, std::pair{"_k8v8_chunk256", "no weights"},
        std::pair{"w16__chunk256", "no KV scheme"}, std::pair{"w16_k8v8_chunk", "not a positive number"},
        std::pair{"w16_k8v8_chunk0", "not a positive number"}, std::pair{"w16_k8v8_chunk-1", "not a positive number"},
        std::pair{"w16_k8v8_chunk+1", "not a positive number"}, std::pair{"w16_k8v8_chunk012", "not a positive number"},
        std::pair{"w16_k8v8_chunk25x", "not a positive number"},
        std::pair{"w16_k8v8_chunk99999999999", "not a positive number"}, std::pair{"w16_k8 v8_chunk256", "a space"},
        std::pair{"w16_k8v8_chunk256\n", "a space"}, std::pair{"w16_k\xc3\xa4_chunk256", "a space"},
        std::pair{std::string(100000, '_'), "no _chunk"}));

}  // namespace
}  // namespace kvpareto
