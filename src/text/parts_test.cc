// The pieces a tokenizer is made of, each against a slow and plain version of itself.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

#include "base/error.h"
#include "base/random.h"
#include "text/byte_alphabet.h"
#include "text/merges.h"
#include "text/pre_tokenizers.h"
#include "text/random_text.h"
#include "text/special_tokens.h"
#include "text/unicode.h"

namespace kvpareto {
namespace {

using Words = std::vector<std::string_view>;

Words split(const char* name, std::string_view text) { return Splitter(find_pre_tokenizer(name)).split(text); }

TEST(ByteAlphabet, WritesAndReadsEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    EXPECT_EQ(bytes_of_token(byte_character(static_cast<uint8_t>(byte))), one);
    all += byte_character(static_cast<uint8_t>(byte));
  }
  EXPECT_EQ(bytes_of_token(all).size(), 256u);
  EXPECT_EQ(byte_character(' '), "Ġ");
  EXPECT_EQ(byte_character('\n'), "Ċ");
  EXPECT_EQ(byte_character(0xAD), "\u0143");
}

TEST(ByteAlphabet, LeavesOtherTextAsItIs) {
  for (const char* token : {"a b", "Ġ\u4e2d", "\xff", "\xc3", "\u0144", "\u00ad"})
    EXPECT_EQ(bytes_of_token(token), token);
}

// Finds the best pair by looking at all of them, again and again.
std::vector<int32_t> slow_merge(const std::map<std::pair<int, int>, std::pair<int, int>>& pairs,
                                std::vector<int32_t> ids) {
  for (;;) {
    size_t best = ids.size();
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto pair = pairs.find({ids[i], ids[i + 1]});
      if (pair == pairs.end()) continue;
      if (best == ids.size() || pair->second.first < pairs.at({ids[best], ids[best + 1]}).first) best = i;
    }
    if (best == ids.size()) return ids;
    ids[best] = pairs.at({ids[best], ids[best + 1]}).second;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Merges, AreThoseOfTheSlowVersion) {
  const bool holds = rc::check("random pairs and symbols", [](uint64_t seed) {
    Random random(seed);
    constexpr int kLetters = 3;
    std::map<std::pair<int, int>, std::pair<int, int>> pairs;
    const int count = static_cast<int>(random.below(20));
    Merges merges(count);
    for (int rank = 0; rank < count; ++rank) {
      const int left = static_cast<int>(random.below(kLetters + rank)),
                right = static_cast<int>(random.below(kLetters + rank));
      pairs[{left, right}] = {rank, kLetters + rank};
      merges.add(left, right, rank, kLetters + rank);
    }
    std::vector<int32_t> symbols(random.below(60)), merged;
    for (int32_t& symbol : symbols) symbol = static_cast<int32_t>(random.below(kLetters));
    merges.merge(symbols, merged);
    RC_ASSERT(merged == slow_merge(pairs, symbols));
  });
  EXPECT_TRUE(holds);
}

TEST(Splitter, KnowsTheWordsOfEachModel) {
  const char* text = "It's IT'S 12345 x\u00b2  \n\n  end ";
  EXPECT_EQ(split("smollm", text),
            (Words{"It", "'s", " IT", "'", "S", " ", "1", "2", "3", "4", "5", " x", "\u00b2", "  \n\n ", " end", " "}));
  EXPECT_EQ(split("qwen2", text),
            (Words{"It", "'s", " IT", "'S", " ", "1", "2", "3", "4", "5", " x", "\u00b2", "  \n\n", " ", " end", " "}));
  EXPECT_EQ(split("llama-bpe", text),
            (Words{"It", "'s", " IT", "'S", " ", "123", "45", " x", "\u00b2", "  \n\n", " ", " end", " "}));
}

TEST(Splitter, GivesInvalidBytesWordsOfTheirOwn) {
  for (const char* name : {"smollm", "qwen2", "llama-bpe"}) {
    EXPECT_EQ(split(name,
                    "ab\xff\xfe"
                    "cd\xc3"),
              (Words{"ab", "\xff\xfe", "cd", "\xc3"}));
    EXPECT_EQ(split(name, "\xed\xa0\x80"), (Words{"\xed\xa0\x80"})) << "a surrogate";
    EXPECT_EQ(split(name, ""), Words{});
  }
}

TEST(Splitter, LosesNothing) {
  const bool holds = rc::check("random bytes", [](uint64_t seed) {
    const std::string text = random_text(seed);
    for (const char* name : {"smollm", "qwen2", "llama-bpe"}) {
      std::string joined;
      for (std::string_view word : split(name, text)) {
        RC_ASSERT(!word.empty());
        joined += word;
      }
      RC_ASSERT(joined == text);
    }
  });
  EXPECT_TRUE(holds);
}

TEST(SpecialTokens, FindsTheLeftmostAndLongest) {
  const SpecialTokens tokens({{"<b>", 1}, {"<b><b>", 2}, {"<b><", 3}, {"b", 4}, {"", 5}});
  const auto found = [&](std::string_view text, size_t from) {
    const auto at = tokens.find(text, from);
    return std::tuple(at.begin, at.size, at.token);
  };
  EXPECT_EQ(found("a<b><b>", 0), std::tuple(1u, 6u, 2));
  EXPECT_EQ(found("a<b><a>", 0), std::tuple(1u, 4u, 3));
  EXPECT_EQ(found("a<b><b>", 2), std::tuple(2u, 1u, 4));
  EXPECT_EQ(std::get<1>(found("a<", 0)), 0u);
  EXPECT_EQ(std::get<1>(found("", 0)), 0u);
}

TEST(Unicode, ComposesAsTheStandardSays) {
  EXPECT_EQ(compose("plain"), "plain");
  EXPECT_EQ(compose("A\u030a"), "\u00c5");
  EXPECT_EQ(compose("\u212b"), "\u00c5");
  EXPECT_EQ(compose("q\u0307\u0323"), "q\u0323\u0307") << "canonical order";
  EXPECT_EQ(compose("o\u0302\u0323"), "\u1ed9");
  EXPECT_EQ(compose("\u0958"), "\u0915\u093c") << "excluded from composition";
  EXPECT_EQ(compose("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(compose("\ufb01"), "\ufb01") << "compatibility characters stay";
  EXPECT_EQ(compose(std::string("e\0\u0301", 4)), std::string("e\0\u0301", 4));
  EXPECT_EQ(compose("e\xff\u0301"), "e\xff\u0301");
}

TEST(Unicode, CompositionIsStableAndKeepsInvalidBytes) {
  const bool holds = rc::check("random bytes", [](uint64_t seed) {
    const std::string text = random_text(seed);
    RC_ASSERT(compose(compose(text)) == compose(text));
  });
  EXPECT_TRUE(holds);
}

TEST(Unicode, FindsWhereValidTextEnds) {
  EXPECT_EQ(valid_prefix("a\u00e9\U0001f600\xff"), 7u);
  EXPECT_EQ(valid_prefix("a\xf0\x9f\x98"), 1u) << "cut off";
  EXPECT_EQ(valid_prefix("\xc0\xaf"), 0u) << "overlong";
  EXPECT_EQ(valid_prefix("\xf4\x90\x80\x80"), 0u) << "above U+10FFFF";
  EXPECT_EQ(invalid_prefix("\xff\xfe!"), 2u);
  EXPECT_EQ(invalid_prefix("!\xff"), 0u);
}

TEST(Unicode, ShowsAnythingOnOneLine) {
  EXPECT_EQ(shown("caf\u00e9 \U0001f600"), "caf\u00e9 \U0001f600");
  EXPECT_EQ(shown("a\n\x1b\xff\u2028"), "a\\x0a\\x1b\\xff\\xe2\\x80\\xa8");
  EXPECT_EQ(shown(std::string(100, 'x')), std::string(60, 'x') + "...");
}

TEST(Unicode, MeasuresWhiteSpaceAtBothEnds) {
  for (const std::string_view space :
       {"", " ", "\t\n\v\f\r ", "\u0085\u00a0", "\u1680\u2003\u2028\u2029\u202f\u205f\u3000"}) {
    EXPECT_EQ(white_space_at_start(std::string(space) + "x "), space.size());
    EXPECT_EQ(white_space_at_end(" x" + std::string(space)), space.size());
    EXPECT_EQ(white_space_at_start(space), space.size());
    EXPECT_EQ(white_space_at_end(space), space.size());
  }
  for (const std::string_view other : {"\u180e", "\u200b", "\x1c", "\xa0", "\xe3\x80", "\x80\x80\x80\x80"}) {
    EXPECT_EQ(white_space_at_start(other), 0u);
    EXPECT_EQ(white_space_at_end(other), 0u);
  }
}

TEST(Unicode, TrimsLikePython) {
  EXPECT_EQ(trim(" \t\n\r\u00a0\u3000\u2028\x1c a b \x85 \u0085\n"), "a b \x85");
  EXPECT_EQ(trim("\u200b"), "\u200b");
  EXPECT_EQ(trim(" \n "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\xff"), "\xff");
}

}  // namespace
}  // namespace kvpareto
