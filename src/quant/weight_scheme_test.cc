#include "quant/weight_scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/testing.h"

namespace kvpareto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<WeightChoice> all_choices(bool table) {
  std::vector<WeightChoice> choices = {{.stored = true, .format = {}}, {}};
  for (const WeightCodec codec : {WeightCodec::kInt8, WeightCodec::kInt4, WeightCodec::kInt3}) {
    if (table && codec == WeightCodec::kInt3) continue;
    for (const int group : {32, 64, 128}) choices.push_back({.stored = false, .format = {codec, group}});
  }
  return choices;
}

TEST(WeightScheme, EveryOneComesBackAndNoTwoShareAText) {
  std::vector<std::string> texts;
  for (const WeightChoice& linears : all_choices(false)) {
    for (const WeightChoice& table : all_choices(true)) {
      for (const Activations activations : {Activations::kFloat, Activations::kInt8}) {
        for (const bool awq : {false, true}) {
          const WeightScheme scheme{linears, table, activations, awq, {}};
          texts.push_back(to_text(scheme));
          EXPECT_EQ(parse_weights(texts.back()), scheme) << texts.back();
        }
      }
    }
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
}

RC_GTEST_PROP(WeightScheme, ChangesComeBackAndTheLastOneWins, ()) {
  const std::vector<WeightChoice> choices = all_choices(false);
  WeightScheme scheme;
  scheme.linears = *rc::gen::elementOf(choices);
  scheme.table.stored = scheme.linears.stored;
  std::vector<WeightChange> all;
  const int count = *rc::gen::inRange(0, 5);
  for (int i = 0; i < count; ++i) {
    WeightChange change;
    const int first = *rc::gen::inRange(0, 40);
    if (*rc::gen::arbitrary<bool>()) change.layers = {first, first + *rc::gen::inRange(0, 4)};
    if (!change.layers || *rc::gen::arbitrary<bool>()) change.kind = static_cast<LinearKind>(*rc::gen::inRange(0, 4));
    change.choice = *rc::gen::elementOf(choices);
    all.push_back(change);
  }
  scheme.changes = all;
  const WeightScheme back = parse_weights(to_text(scheme));
  RC_ASSERT(to_text(parse_weights(to_text(back))) == to_text(back));
  for (int layer = 0; layer < 44; ++layer) {
    for (const LinearKind kind : {LinearKind::kQkv, LinearKind::kOutput, LinearKind::kGateUp, LinearKind::kDown}) {
      WeightChoice wanted = scheme.linears;
      for (const WeightChange& change : all) {
        if (change.layers && (layer < change.layers->first || layer > change.layers->second)) continue;
        if (!change.kind || change.kind == kind) wanted = change.choice;
      }
      RC_ASSERT(back.at(layer, kind) == wanted);
    }
  }
}

TEST(WeightScheme, CanonicalTexts) {
  for (const auto& [text, canonical] : std::vector<std::pair<std::string, std::string>>{
           {"w16", "w16"},
           {"w4", "w4g128"},
           {"w4e8", "w4g128e8"},
           {"w4g64e8g128", "w4g64e8"},
           {"w8g32e4g32", "w8g32e4"},
           {"w16e4g64", "w16e4g64"},
           {"w16e16", "w16"},
           {"stored", "stored"},
           {"storedestored", "stored"},
           {"storede16", "storede16"},
           {"w4g32estored.a16", "w4g32estored.a16"},
           {"w4g128e8.awq", "w4g128e8.awq"},
           {"w4,down:w8,0-1:w8g64,23-23.qkv:w16", "w4g128,down:w8g128,0-1:w8g64,23.qkv:w16"},
           {"w4,down:w8,o:stored,down:w16", "w4g128,o:stored,down:w16"}}) {
    EXPECT_EQ(to_text(parse_weights(text)), canonical) << text;
  }
  EXPECT_EQ(WeightScheme(), parse_weights("w16"));
}

TEST(WeightScheme, WhatIsWrongIsSaid) {
  const auto refusal = [](const std::string& text) -> std::string {
    const auto error = error_of([&] { parse_weights(text); });
    if (!error) return "no error";
    EXPECT_EQ(error->exit(), Exit::kUsage);
    EXPECT_EQ(std::string(error->what()).find_first_of("\n\r\t\x1b"), std::string::npos);
    return error->what();
  };
  EXPECT_THAT(refusal(""), HasSubstr("wanted 'w' and bits, or 'stored'"));
  EXPECT_THAT(refusal("int4"), HasSubstr("found 'int4'"));
  EXPECT_THAT(refusal("w5"), HasSubstr("wanted 16, 8, 4 or 3 bits after 'w', found '5'"));
  EXPECT_THAT(refusal("w4g100"), HasSubstr("wanted a group of 128, 64 or 32 after 'g', found '100'"));
  EXPECT_THAT(refusal("w4e3"), HasSubstr("wanted 16, 8, 4 or 'stored' after 'e', found '3'"));
  EXPECT_THAT(refusal("w4.a4"), HasSubstr("'a4' is not an option, did you mean a"));
  EXPECT_THAT(refusal("w4,gate:w8"), HasSubstr("wanted layers or one of qkv, o, gateup, down, found 'gate:w8'"));
  EXPECT_THAT(refusal("w4,5-2:w8"), HasSubstr("a range of layers below 1024"));
  EXPECT_THAT(refusal("w4,2000:w8"), HasSubstr("a range of layers below 1024"));
  EXPECT_THAT(refusal("w4,down"), HasSubstr("wanted ':'"));
  EXPECT_THAT(refusal("w4g128x"), HasSubstr("'x' is left over"));
  EXPECT_THAT(refusal("w99999999999"), HasSubstr("wanted 16, 8, 4 or 3 bits"));
  EXPECT_THAT(refusal(std::string(1000, '\n')), HasSubstr("..."));
}

TEST(WeightScheme, ListsArePartedWhereASchemeEnds) {
  EXPECT_THAT(split_weights("w16,w4g128,down:w8,0-1:w8,stored"), ElementsAre("w16", "w4g128,down:w8,0-1:w8", "stored"));
}

}  // namespace
}  // namespace kvpareto
