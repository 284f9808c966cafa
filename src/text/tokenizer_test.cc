#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/random_text.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace kvpareto {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

// The 256 bytes, then "th", "the", " the", " t", and four tokens written as they are.
Vocabulary small_vocabulary() {
  Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre_tokenizer = "smollm";
  for (int byte = 0; byte < 256; ++byte) vocabulary.tokens.push_back(byte_character(static_cast<uint8_t>(byte)));
  for (const char* token : {"th", "the", "Ġthe", "Ġt"}) vocabulary.tokens.push_back(token);
  vocabulary.merges = {"t h", "th e", "Ġ the", "Ġ t"};
  vocabulary.token_types.assign(vocabulary.tokens.size(), 1);
  const std::pair<const char*, int32_t> special[] = {{"<a>", 3}, {"<a><b>", 3}, {"<tool>", 4}, {"<|im_end|>", 3}};
  for (const auto& [token, type] : special) {
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(type);
  }
  return vocabulary;
}
constexpr int32_t kA = 260, kAB = 261, kTool = 262, kImEnd = 263;

json read_golden(const std::string& name) {
  std::ifstream file(KVPARETO_TESTDATA "/text/" + name);
  return json::parse(file);
}

Vocabulary golden_vocabulary(const json& golden) {
  Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre_tokenizer = golden["pre_tokenizer"];
  vocabulary.tokens = golden["tokens"].get<std::vector<std::string>>();
  vocabulary.merges = golden["merges"].get<std::vector<std::string>>();
  vocabulary.token_types = golden["token_types"].get<Ids>();
  vocabulary.strip_left = golden.value("strip_left", std::set<int32_t>());
  vocabulary.strip_right = golden.value("strip_right", std::set<int32_t>());
  vocabulary.single_word = golden.value("single_word", std::set<int32_t>());
  return vocabulary;
}

std::string message_of(Vocabulary vocabulary) {
  try {
    Tokenizer tokenizer(std::move(vocabulary));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class TinyVocabulary : public testing::TestWithParam<const char*> {
 protected:
  TinyVocabulary() : golden(read_golden(GetParam())), tokenizer(golden_vocabulary(golden)) {}
  // What a text is after encoding and decoding.
  std::string expected(const std::string& text) const {
    return golden["pre_tokenizer"] == "qwen2" ? compose(text) : text;
  }
  json golden;
  Tokenizer tokenizer;
};

void expect_golden_ids(const Tokenizer& tokenizer, const json& golden) {
  ASSERT_GT(golden["cases"].size(), 80u);
  for (const json& row : golden["cases"]) {
    const std::string text = row["text"];
    EXPECT_EQ(tokenizer.encode(text, false, false), row["plain"].get<Ids>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, true, false), row.value("special", row["plain"]).get<Ids>()) << row["text"];
  }
}

TEST_P(TinyVocabulary, GivesTheIdsOfTheTokenizersPackage) { expect_golden_ids(tokenizer, golden); }

TEST(Tokenizer, TakesInWhiteSpaceBesideTokensThatSaySo) {
  const json golden = read_golden("tiny_qwen2_strips.json");
  expect_golden_ids(Tokenizer(golden_vocabulary(golden)), golden);
}

TEST(Tokenizer, LeavesOutTokensInsideOfWordsThatSaySo) {
  const json golden = read_golden("tiny_qwen2_words.json");
  expect_golden_ids(Tokenizer(golden_vocabulary(golden)), golden);
}

TEST_P(TinyVocabulary, DecodesWhatItEncodes) {
  for (const json& row : golden["cases"]) {
    const std::string text = expected(row["text"]);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false, false)), text);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, true, false), true), text);
  }
}

TEST_P(TinyVocabulary, GivesAnyBytesBack) {
  const bool holds = rc::check("random bytes", [this](uint64_t seed) {
    const std::string text = random_text(seed);
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text, false, false)) == expected(text));
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text, true, false), true) == expected(text));
  });
  EXPECT_TRUE(holds);
}

TEST_P(TinyVocabulary, EncodesAMegabyteOfAnything) {
  constexpr size_t kSize = 1 << 20;
  std::string accents, letters_and_spaces;
  while (accents.size() < kSize) accents += "\u0301\u0323";
  while (letters_and_spaces.size() < kSize) letters_and_spaces += "x          ";
  for (const std::string& text :
       {std::string(kSize, 'a'), std::string(kSize, ' '), std::string(kSize, '7'), std::string(kSize, '\n'),
        std::string(kSize, '<'), std::string(kSize, '\xff'), letters_and_spaces}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, true, false)), text);
  }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(accents, true, false)).size(), accents.size());
}

INSTANTIATE_TEST_SUITE_P(Text, TinyVocabulary,
                         testing::Values("tiny_smollm.json", "tiny_qwen2.json", "tiny_llama-bpe.json"),
                         [](const auto& name) {
                           std::string word = name.param;
                           std::erase_if(word, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
                           return word;
                         });

TEST(TokenizerJson, SaysWhichTokensAreNoPartOfAWord) {
  const std::string_view file = R"({
    "model": {"type": "BPE", "vocab": {"a": 0, "Ġ": 1, "b": 2}, "merges": []},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "added_tokens": [{"id": 3, "content": "aa", "single_word": true}, {"id": 4, "content": "ab"}]})";
  const Tokenizer tokenizer(parse_tokenizer_json(file, "tokenizer.json"));
  EXPECT_EQ(tokenizer.encode("aa aa", false, false), (Ids{3, 1, 3}));
  EXPECT_EQ(tokenizer.encode("baa", false, false), (Ids{2, 0, 0}));
  EXPECT_EQ(tokenizer.encode("aab", false, false), (Ids{0, 0, 2}));  // "ab" is hidden by "aa"
  EXPECT_EQ(tokenizer.encode("aaab", false, false), (Ids{0, 0, 4}));
}

TEST(TokenizerJson, SaysWhichTokensTakeInWhiteSpace) {
  const std::string_view file = R"({
    "model": {"type": "BPE", "vocab": {"a": 0, "Ġ": 1}, "merges": []},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "added_tokens": [{"id": 2, "content": "<l>", "lstrip": true, "special": true}, {"id": 3, "content": "<r>", "rstrip": true}]})";
  const Tokenizer tokenizer(parse_tokenizer_json(file, "tokenizer.json"));
  EXPECT_EQ(tokenizer.encode("a <l> a <r> a", true, false), (Ids{0, 2, 1, 0, 1, 3, 0}));
  EXPECT_EQ(tokenizer.encode(" <l><r> ", true, false), (Ids{2, 3}));
}

TEST(Tokenizer, ComposesCharacters) {
  const Tokenizer tokenizer(golden_vocabulary(read_golden("tiny_qwen2.json")));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("cafe\u0301 \xff e\u0301", false, false)), "caf\u00e9 \xff \u00e9");
}

TEST(Tokenizer, MergesByRankFromTheLeft) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_EQ(tokenizer.encode("the the", false, false), (Ids{257, 258}));
  EXPECT_EQ(tokenizer.encode("th t1", false, false), (Ids{256, 259, '1'}));
}

TEST(Tokenizer, ReadsControlTokensOnlyWhenAsked) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_EQ(tokenizer.encode("<a>", true, false), (Ids{kA}));
  EXPECT_EQ(tokenizer.encode("<a>", false, false), (Ids{'<', 'a', '>'}));
  EXPECT_EQ(tokenizer.encode("the<tool>the", false, false), (Ids{257, kTool, 257}));
}

TEST(Tokenizer, PrefersTheLongestTokenAtThePlace) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_EQ(tokenizer.encode("<<a><b><a><b", true, false), (Ids{'<', kAB, kA, '<', 'b'}));
}

TEST(Tokenizer, ShowsControlTokensOnlyWhenAsked) {
  const Tokenizer tokenizer(small_vocabulary());
  const Ids ids = {kA, 'x', kTool, kImEnd};
  EXPECT_EQ(tokenizer.decode(ids), "x<tool>");
  EXPECT_EQ(tokenizer.decode(ids, true), "<a>x<tool><|im_end|>");
}

TEST(Tokenizer, AddsTheBeginningIfTheModelAndTheCallerWantIt) {
  Vocabulary vocabulary = small_vocabulary();
  vocabulary.beginning = kA;
  EXPECT_EQ(Tokenizer(vocabulary).encode("x", false, true), (Ids{'x'}));
  vocabulary.add_beginning = true;
  EXPECT_EQ(Tokenizer(vocabulary).encode("x", false, true), (Ids{kA, 'x'}));
  EXPECT_EQ(Tokenizer(vocabulary).encode("", false, true), (Ids{kA}));
  EXPECT_EQ(Tokenizer(vocabulary).encode("x", false, false), (Ids{'x'}));
}

TEST(Tokenizer, EndsAtTheEndTokenAndAtWellKnownNames) {
  Vocabulary vocabulary = small_vocabulary();
  vocabulary.end = kA;
  const Tokenizer tokenizer(vocabulary);
  EXPECT_TRUE(tokenizer.is_end(kA));
  EXPECT_TRUE(tokenizer.is_end(kImEnd));
  for (int32_t other : {int32_t{'x'}, kAB, kTool, -1, tokenizer.size()}) EXPECT_FALSE(tokenizer.is_end(other)) << other;
}

TEST(Tokenizer, FindsTokensByTheirText) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_EQ(tokenizer.find("Ġthe"), 258);
  EXPECT_EQ(tokenizer.find("<a>"), kA);
  EXPECT_EQ(tokenizer.find(" the"), std::nullopt);
}

TEST(Tokenizer, DropsBytesThatTheVocabularyLacks) {
  Vocabulary vocabulary = small_vocabulary();
  vocabulary.tokens['x'] = "unused";
  EXPECT_EQ(Tokenizer(vocabulary).encode("txhe", false, false), (Ids{257})) << "its neighbours meet";
}

TEST(Tokenizer, RefusesIdsThatItDoesNotHave) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_THROW(tokenizer.decode(Ids{-1}), Error);
  EXPECT_THROW(tokenizer.decode(Ids{tokenizer.size()}), Error);
}

TEST(Tokenizer, RefusesBadVocabulariesInOneLine) {
  const Vocabulary good = small_vocabulary();
  EXPECT_EQ(message_of(good), "no error");

  const auto changed = [&](auto change) {
    Vocabulary vocabulary = good;
    change(vocabulary);
    const std::string message = message_of(vocabulary);
    EXPECT_EQ(message.find('\n'), message.npos);
    return message;
  };
  EXPECT_EQ(changed([](Vocabulary& v) { v.model = "t5"; }),
            "tokenizer model 't5' is not supported; known are gpt2 (byte-level BPE), llama (SentencePiece BPE)");
  EXPECT_EQ(changed([](Vocabulary& v) { v.pre_tokenizer = "qwen3"; }),
            "pre-tokenizer 'qwen3' is not supported; known are smollm, qwen2, llama-bpe (nearest: qwen2)");
  EXPECT_EQ(changed([](Vocabulary& v) { v.tokens.clear(); }), "the tokenizer has no tokens");
  EXPECT_EQ(changed([](Vocabulary& v) { v.merges[1] = "th x"; }),
            "merge 1 of the tokenizer, 'th x', needs 'thx', which is no token");
  EXPECT_EQ(changed([](Vocabulary& v) { v.merges[1] = "thhh x"; }),
            "merge 1 of the tokenizer, 'thhh x', needs 'thhh', which is no token");
  for (const char* line : {"", " ", "th", " e", "th ", "t h e", "th  e"}) {
    EXPECT_NE(changed([&](Vocabulary& v) { v.merges[1] = line; }).find("wanted two tokens"), std::string::npos) << line;
  }
  EXPECT_EQ(changed([](Vocabulary& v) { v.tokens[7] = "the"; }), "tokens 7 and 257 of the tokenizer are both 'the'");
  EXPECT_EQ(changed([](Vocabulary& v) { v.token_types.pop_back(); }),
            "the tokenizer has 263 token types for 264 tokens");
  EXPECT_EQ(changed([](Vocabulary& v) { v.token_types[3] = 7; }),
            "token 3 of the tokenizer has type 7; known are 1 to 6");
  EXPECT_EQ(changed([](Vocabulary& v) { v.end = 264; }), "the end token of the tokenizer is 264; its ids are 0 to 263");
  EXPECT_EQ(changed([](Vocabulary& v) { v.beginning = -1; }),
            "the beginning token of the tokenizer is -1; its ids are 0 to 263");
  EXPECT_EQ(changed([](Vocabulary& v) { v.add_beginning = true; }),
            "the tokenizer adds a beginning token but names none");
}

TEST(Tokenizer, ShowsHostileTextInMessagesHarmlessly) {
  Vocabulary vocabulary = small_vocabulary();
  vocabulary.merges[0] = "t \n\x1b[31m" + std::string(10000, 'x');
  const std::string message = message_of(vocabulary);
  EXPECT_EQ(message.find('\n'), message.npos);
  EXPECT_EQ(message.find('\x1b'), message.npos);
  EXPECT_LT(message.size(), 400u);
}

}  // namespace
}  // namespace kvpareto
