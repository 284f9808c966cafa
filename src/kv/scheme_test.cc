#include "kv/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/testing.h"
#include "kv/layout.h"

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
    for (const int span : {32, 64, 128}) {
      for (const int group : {1, 32, 128, kWholeHead}) sides.push_back({info.codec, group, span});
    }
    sides.push_back({info.codec, kWholeHead, kWholeLayer});
    if (info.bits == 8 || info.bits == 4) sides.push_back({info.codec, 32, 1, Fit::kSymmetric});
  }
  const size_t plain = sides.size();
  for (size_t i = 0; i < plain; i += 3) {
    SideScheme side = sides[i];
    side.rotated = i % 2 == 0;
    side.offset = static_cast<Offset>(i / 2 % 3);
    side.before_rope = i / 4 % 2 == 0;
    if (side.fit == Fit::kRange && has_scale(side.codec)) side.fit = Fit::kSquares;
    sides.push_back(side);
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

// Layers of their own: whatever is set comes back, in the fewest words.
RC_GTEST_PROP(SchemeText, OverridesComeBack, ()) {
  const std::vector<SideScheme> sides = all_sides();
  KvScheme scheme(LayerScheme{*rc::gen::elementOf(sides), *rc::gen::elementOf(sides)});
  scheme.recent = *rc::gen::element(0, 1, 64, 4096);
  scheme.sinks = *rc::gen::element(0, 4);
  scheme.attend_first = *rc::gen::arbitrary<bool>();
  const int changes = *rc::gen::inRange(0, 6);
  for (int i = 0; i < changes; ++i) {
    LayerScheme layer = scheme.base();
    if (*rc::gen::arbitrary<bool>()) layer.keys = *rc::gen::elementOf(sides);
    if (*rc::gen::arbitrary<bool>()) layer.values = *rc::gen::elementOf(sides);
    scheme.change(*rc::gen::inRange(0, 8), layer);
  }
  const std::string text = to_text(scheme);
  RC_ASSERT(parse_scheme(text) == scheme);
  RC_ASSERT(to_text(parse_scheme(text)) == text);
  RC_ASSERT(split_schemes(text + ",k8v8,kivi-4") == (std::vector<std::string>{text, "k8v8", "kivi-4"}));
}

TEST(SchemeText, CanonicalTextsAreShort) {
  const auto canonical = [](const char* text) { return to_text(parse_scheme(text)); };
  for (const char* text :
       {"k4v4t32", "k4t32v4g32", "k4t32.pre.v4g32.had", "k8v8p", "k4b64x32v2g64", "kq8vq4", "k4.pre.v4g64",
        "k4v4g64.recent64.sink4.atp", "k4v4g64,0-1:k8,27:k8v8", "k4t32.pre.v4g32,3:k8.plain.v8", "k16v16,2:k4t32.fit",
        "k4v4g64,0-3:k2,5-6:v16", "k16.pre.bias.had.v16"}) {
    EXPECT_EQ(canonical(text), text);
  }
  EXPECT_EQ(canonical("k4v4g64,0:k8,1:k8g64"), "k4v4g64,0-1:k8");
  EXPECT_EQ(canonical("k4v4,0-27:v8,3:k8"), "k4v4g64,0-2:v8,3:k8v8,4-27:v8");
  EXPECT_EQ(canonical("k4v4,5:k4"), "k4v4g64");
  EXPECT_EQ(canonical("k4.had.pre.v4"), "k4.pre.had.v4g64");
}

TEST(SchemeText, WrongOptionsAndLayersAreNamed) {
  EXPECT_THAT(scheme_refusal("k4.hda.v4"), HasSubstr("'hda' is not an option of keys, did you mean had"));
  EXPECT_THAT(scheme_refusal("k4v4.hda"), HasSubstr("'hda' is not an option, did you mean had"));
  EXPECT_THAT(scheme_refusal("k4t64.prev4"), HasSubstr("'prev' lacks a point, did you mean pre.v"));
  EXPECT_THAT(scheme_refusal("k4v4.recent"), HasSubstr("wanted 0 to 4096 tokens after 'recent', found ''"));
  EXPECT_THAT(scheme_refusal("k4v4.sink99999"), HasSubstr("found '99999'"));
  EXPECT_THAT(scheme_refusal("k4t48v4"), HasSubstr("a span of 48 tokens is none of 32, 64, 128, the nearest is"));
  EXPECT_THAT(scheme_refusal("k4b32v4"), HasSubstr("a block is written tokens x channels, as in b64x32"));
  EXPECT_THAT(scheme_refusal("kq3v4"), HasSubstr("'kq3' names no codec, the nearest is kq4"));
  EXPECT_THAT(scheme_refusal("kq8.fit.v4"), HasSubstr("q8 and q4 have a fit of their own"));
  EXPECT_THAT(scheme_refusal("k4v4,2000:k8"), HasSubstr("a layer or a range of layers below 1024"));
  EXPECT_THAT(scheme_refusal("k4v4,3-1:k8"), HasSubstr("a layer or a range of layers"));
  EXPECT_THAT(scheme_refusal("k4v4,3k8"), HasSubstr("wanted ':' after the layers"));
  EXPECT_THAT(scheme_refusal("k4v4,3:"), HasSubstr("wanted 'v' at the end"));
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
  for (const auto& [name, codec] : {std::pair("q8_0", Codec::kInt8), std::pair("q4_0", Codec::kInt4)}) {
    EXPECT_EQ(parse_side(name), (SideScheme{.codec = codec, .group = 32, .fit = Fit::kSymmetric}));
  }
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

TEST(EffectiveBits, CountEverythingThatIsStored) {
  // Of heads of this size at 4096 tokens.
  const auto bits = [](const char* scheme, int head_dim, int layers = 3) {
    const CacheShape shape{.layers = layers, .kv_heads = 2, .head_dim = head_dim, .context = 4096, .step = 256};
    return effective_bits(parse_scheme(scheme), shape);
  };
  EXPECT_DOUBLE_EQ(bits("k16v16", 64), 16);
  EXPECT_DOUBLE_EQ(bits("k4v4g32", 128), 5.0);
  EXPECT_DOUBLE_EQ(bits("k4v4g64", 128), 4.5);
  EXPECT_DOUBLE_EQ(bits("k4v4g128", 128), 4.25);
  EXPECT_DOUBLE_EQ(bits("k4v4gh", 256), 4.125);
  EXPECT_DOUBLE_EQ(bits("k2v2g32", 64), 3.0);
  EXPECT_DOUBLE_EQ(bits("k16v4g32", 64), 10.5);
  EXPECT_DOUBLE_EQ(bits("k8g32v3g64", 64), (9 + 3.5) / 2);
  EXPECT_DOUBLE_EQ(bits("kq8vq4", 64), (8.5 + 4.5) / 2);  // as GGUF's q8_0 and q4_0
  // One scale a channel over 32 tokens costs as much as over 32 channels, and 32 exact tokens until they are packed.
  EXPECT_DOUBLE_EQ(bits("k4t32v4g32", 64), 5.0 + 0.5 * 16 * 32 / 4096);
  EXPECT_DOUBLE_EQ(bits("k4v4g32.sink64", 64), (5.0 * 4032 + 16 * 64) / 4096);
  // The exact tokens take a place of their own, and those that are packed one block less.
  EXPECT_DOUBLE_EQ(bits("k4v4g32.recent63", 64), 5.0 * 4096 / 4096 + 16.0 * 64 / 4096);
  EXPECT_DOUBLE_EQ(bits("k4v4g32,0-1:k8", 64, 4), (5.0 * 6 + 9.0 * 2) / 8);
  // Turns of 64 places, twice in f32 and once in int16, and of 64 blocks, f32, shared by all layers and heads.
  EXPECT_DOUBLE_EQ(bits("k16.pre.v16", 64), 16 + 32.0 * 224 * 64 / (3 * 2 * 2 * 64 * 4096.0));
}

TEST(WhyInvalid, NamesTheNearestGroupThatFits) {
  EXPECT_EQ(why_invalid(parse_scheme("k4v4g64"), 3, 64, false), "");
  EXPECT_EQ(why_invalid(parse_scheme("k4v4gh"), 3, 96, false), "");
  EXPECT_EQ(why_invalid(KvScheme(), 3, 32, false), "");
  // bf16 has no group that could be wrong.
  EXPECT_EQ(why_invalid(KvScheme(LayerScheme{{Codec::kBf16, 64}, {Codec::kBf16, 64}}), 3, 32, false), "");
  EXPECT_THAT(why_invalid(parse_scheme("k16v4g128"), 3, 64, false),
              HasSubstr("128 channels does not divide the head size 64; the nearest that does is 64"));
  EXPECT_THAT(why_invalid(parse_scheme("k4g64v16"), 3, 96, false), HasSubstr("the nearest that does is 32"));
  EXPECT_THAT(why_invalid(parse_scheme("k4v4g1024"), 1, 32, false), HasSubstr("the nearest that does is 32"));
  EXPECT_THAT(why_invalid(KvScheme(), 3, 80, false), HasSubstr("head size 80 is not a multiple of 32"));
}

TEST(WhyInvalid, OptionsThatMeanNothingAreRefused) {
  EXPECT_THAT(why_invalid(parse_scheme("k4v4.pre"), 3, 64, true), HasSubstr("'.pre' is for keys alone"));
  EXPECT_THAT(why_invalid(parse_scheme("k4.pre.bias.v4"), 3, 64, false), HasSubstr("the nearest choice is '.mean'"));
  EXPECT_THAT(why_invalid(parse_scheme("k4.bias.v4"), 3, 64, true), HasSubstr("write '.pre.bias'"));
  EXPECT_EQ(why_invalid(parse_scheme("k4.pre.bias.v4.bias"), 3, 64, true), "");
  EXPECT_THAT(why_invalid(parse_scheme("k4p.fit.v4"), 3, 64, true), HasSubstr("'.fit' is for groups of one token"));
  EXPECT_THAT(why_invalid(parse_scheme("k4b32x32.fit.v4"), 3, 64, true),
              HasSubstr("'.fit' is for groups of one token"));
  EXPECT_THAT(why_invalid(parse_scheme("k4v4,3:k8"), 3, 64, true), HasSubstr("layer 3 is beyond the model's last, 2"));
  EXPECT_THAT(why_invalid(parse_scheme("k4v4g64,1:k4g128"), 3, 64, true), HasSubstr("the nearest that does is 64"));
}

}  // namespace
}  // namespace kvpareto
