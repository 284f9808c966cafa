#include "kv/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/testing.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

std::vector<SideScheme> all_sides() {
  std::vector<SideScheme> sides;
  for (const CodecInfo& info : kCodecs) {
    if (!has_scale(info.codec)) {
      sides.push_back({info.codec});
      continue;
    }
    for (const int group : {32, 64, 96, 128, 256, 1024, kWholeHead}) sides.push_back({info.codec, group});
  }
  return sides;
}

TEST(SchemeText, EverySchemeComesBackAndNoTwoShareAText) {
  std::vector<std::string> texts;
  for (const SideScheme& keys : all_sides()) {
    for (const SideScheme& values : all_sides()) {
      const KvScheme scheme(LayerScheme{keys, values});
      texts.push_back(to_text(scheme));
      EXPECT_EQ(parse_scheme(texts.back()), scheme) << texts.back();
      EXPECT_EQ(to_text(parse_scheme(texts.back())), texts.back());
    }
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
}

TEST(SchemeText, SideWithoutGroupTakesTheOthersOrSixtyFour) {
  EXPECT_EQ(to_text(KvScheme()), "k16v16");
  EXPECT_EQ(to_text(parse_scheme("k8v4")), "k8v4g64");
  EXPECT_EQ(to_text(parse_scheme("k8v4g32")), "k8v4g32");
  EXPECT_EQ(to_text(parse_scheme("k8g32v4")), "k8v4g32");
  EXPECT_EQ(to_text(parse_scheme("k8g32v4g128")), "k8g32v4g128");
  EXPECT_EQ(to_text(parse_scheme("k4ghv2")), "k4v2gh");
  EXPECT_EQ(to_text(parse_scheme("k16v4gh")), "k16v4gh");
  EXPECT_EQ(to_text(parse_scheme("k3g96v16")), "k3g96v16");
  const LayerScheme layer = parse_scheme("k8g32v4").at(7);
  EXPECT_EQ(layer.keys, (SideScheme{Codec::kInt8, 32}));
  EXPECT_EQ(layer.values, (SideScheme{Codec::kInt4, 32}));
}

// The group of bf16 is no part of a scheme: equal texts, equal schemes.
TEST(SchemeText, GroupOfBf16IsIgnored) {
  EXPECT_EQ(KvScheme(LayerScheme{{Codec::kBf16, 32}, {Codec::kBf16, 128}}), KvScheme());
  EXPECT_EQ(parse_scheme("k16g32v16"), KvScheme());
  EXPECT_NE(parse_scheme("k4g32v4"), parse_scheme("k4g64v4"));
}

std::string refusal(const std::function<void()>& body) {
  const auto error = error_of(body);
  if (!error) return "no error";
  EXPECT_EQ(error->exit(), Exit::kUsage);
  const std::string message = error->what();
  EXPECT_EQ(message.find_first_of("\n\r\t\x1b"), std::string::npos) << "more than one plain line: " << message;
  EXPECT_LT(message.size(), 400u) << message;
  return message;
}
std::string scheme_refusal(const std::string& text) {
  return refusal([&] { parse_scheme(text); });
}
std::string side_refusal(const std::string& text) {
  return refusal([&] { parse_side(text); });
}

TEST(SchemeText, WrongTextsNameThePartAndTheNearestValidOne) {
  EXPECT_THAT(scheme_refusal("k5v4"), HasSubstr("'k5' names no codec, the nearest is k4"));
  EXPECT_THAT(scheme_refusal("k8v12g64"), HasSubstr("'v12' names no codec, the nearest is v16"));
  EXPECT_THAT(scheme_refusal("k1v4"), HasSubstr("the nearest is k2"));
  EXPECT_THAT(scheme_refusal("k8v4g48"), HasSubstr("group 48 is not a multiple of 32 up to 1024, the nearest is 64"));
  EXPECT_THAT(scheme_refusal("k8v4g0"), HasSubstr("the nearest is 32"));
  EXPECT_THAT(scheme_refusal("k8v4g4096"), HasSubstr("the nearest is 1024"));
  EXPECT_THAT(scheme_refusal("k8v4g"), HasSubstr("'g' without a group"));
  EXPECT_THAT(scheme_refusal("k8"), HasSubstr("wanted 'v' at the end"));
  EXPECT_THAT(scheme_refusal(""), HasSubstr("wanted 'k' at the end"));
  EXPECT_THAT(scheme_refusal("v8k8"), HasSubstr("wanted 'k' at 'v8k8'"));
  EXPECT_THAT(scheme_refusal("k8v4g64x"), HasSubstr("'x' is left over"));
  for (const char* text :
       {"k", "kv", "k8v", "K8V4", "k-8v4", "k+8v4", "k8 v4", "k8v4g-32", "k8v4ghh", "k8v4gh32", "k99999999999v4",
        "k8v4g99999999999", "int4", "k8v4,k4v4", "k8.0v4", "k\nv\n", "k8v4\x1b[31m"}) {
    EXPECT_THAT(scheme_refusal(text), HasSubstr("write it like k8v4g64")) << text;
  }
  EXPECT_THAT(scheme_refusal(std::string(100000, 'k')), HasSubstr("write it like k8v4g64"));
}

RC_GTEST_PROP(SchemeText, AnyTextIsParsedOrRefusedInOneLine, (const std::string& tail)) {
  for (const std::string& text : {tail, "k" + tail, "k8v4g" + tail, "int" + tail}) {
    const std::string message = scheme_refusal(text);
    if (message == "no error") RC_ASSERT(parse_scheme(to_text(parse_scheme(text))) == parse_scheme(text));
    side_refusal(text);
  }
}

TEST(SideText, NamesOfOtherPrograms) {
  const auto side = [](Codec codec, int group = kDefaultGroup) { return SideScheme{codec, group}; };
  EXPECT_EQ(parse_side("f16"), side(Codec::kBf16));
  EXPECT_EQ(parse_side("bf16"), side(Codec::kBf16));
  EXPECT_EQ(parse_side("16"), side(Codec::kBf16));
  EXPECT_EQ(parse_side("q8_0"), side(Codec::kInt8, 32));
  EXPECT_EQ(parse_side("q4_0"), side(Codec::kInt4, 32));
  EXPECT_EQ(parse_side("int8"), side(Codec::kInt8, 64));
  EXPECT_EQ(parse_side("int4"), side(Codec::kInt4, 64));
  EXPECT_EQ(parse_side("int3"), side(Codec::kInt3, 64));
  EXPECT_EQ(parse_side("int2"), side(Codec::kInt2, 64));
  EXPECT_EQ(parse_side("4"), side(Codec::kInt4, 64));
  EXPECT_EQ(parse_side("int4g32"), side(Codec::kInt4, 32));
  EXPECT_EQ(parse_side("8g128"), side(Codec::kInt8, 128));
  EXPECT_EQ(parse_side("int2gh"), side(Codec::kInt2, kWholeHead));
}

TEST(SideText, EverySideComesBack) {
  for (const SideScheme& side : all_sides()) EXPECT_EQ(parse_side(to_text(side)), side) << to_text(side);
}

TEST(SideText, WrongNamesGetTheNearest) {
  EXPECT_THAT(side_refusal("q8_1"), HasSubstr("did you mean q8_0?"));
  EXPECT_THAT(side_refusal("fp16"), HasSubstr("did you mean f16?"));
  EXPECT_THAT(side_refusal("int44"), HasSubstr("did you mean int4?"));
  EXPECT_THAT(side_refusal("int4g48"), HasSubstr("'int4g48'"));
  for (const char* text : {"", "g32", "int", "16g64", "bf16g64", "v8", "int4g", "4gh2", "f32\n"}) {
    EXPECT_THAT(side_refusal(text), HasSubstr("did you mean")) << text;
  }
  EXPECT_THAT(side_refusal(std::string(100000, '4')), HasSubstr("did you mean"));
}

TEST(EffectiveBits, CountScaleAndMinimum) {
  EXPECT_DOUBLE_EQ(effective_bits(KvScheme(), 3, 64), 16);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k4v4g32"), 30, 128), 5.0);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k4v4g64"), 30, 128), 4.5);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k4v4g128"), 30, 128), 4.25);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k4v4gh"), 1, 256), 4.125);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k2v2g32"), 1, 64), 3.0);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k16v4g32"), 1, 64), 10.5);
  EXPECT_DOUBLE_EQ(effective_bits(parse_scheme("k8g32v3g64"), 1, 64), (9 + 3.5) / 2);
}

TEST(WhyInvalid, NamesTheNearestGroupThatFits) {
  EXPECT_EQ(why_invalid(parse_scheme("k4v4g64"), 3, 64), "");
  EXPECT_EQ(why_invalid(parse_scheme("k4v4gh"), 3, 96), "");
  EXPECT_EQ(why_invalid(KvScheme(), 3, 32), "");
  // bf16 has no group that could be wrong.
  EXPECT_EQ(why_invalid(KvScheme(LayerScheme{{Codec::kBf16, 64}, {Codec::kBf16, 64}}), 3, 32), "");
  EXPECT_THAT(why_invalid(parse_scheme("k16v4g128"), 3, 64),
              HasSubstr("128 channels does not divide the head size 64; the nearest that does is 64"));
  EXPECT_THAT(why_invalid(parse_scheme("k4g64v16"), 3, 96), HasSubstr("the nearest that does is 32"));
  EXPECT_THAT(why_invalid(parse_scheme("k4v4g1024"), 1, 32), HasSubstr("the nearest that does is 32"));
  EXPECT_THAT(why_invalid(KvScheme(), 3, 80), HasSubstr("head size 80 is not a multiple of 32"));
}

}  // namespace
}  // namespace kvpareto
