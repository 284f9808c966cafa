#include "eval/tasks/aggregation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include "base/text.h"
#include "eval/tasks/synthetic.h"

namespace kvpareto {
namespace {

constexpr int kHops = 4;
constexpr int kVariableTokens = 30, kCommonTokens = 120, kFrequentTokens = 50;  // as RULER's
constexpr int kCommonWords = 10;
constexpr int kShortList = 4096;  // tokens below which words of "common_words" occur less often

constexpr std::array<std::string_view, 5> kNoise = {"The grass is green.", "The sky is blue.", "The sun is yellow.",
                                                    "Here we go.", "There and back again."};

template <typename T>
void shuffle(std::vector<T>& list, Random& random) {
  for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
}

std::string letters(int count, char first, Random& random) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>(first + static_cast<char>(random.below(26)));
  return text;
}

// --- variable tracking

struct Chain {
  std::string value;
  std::vector<std::string> names;
  std::vector<double> depths;  // of the assignments, ascending
};

Chain draw_chain(int name_letters, Random& random) {
  Chain chain;
  chain.value = std::to_string(10000 + random.below(90000));
  std::set<std::string> used;
  while (chain.names.size() <= kHops) {
    std::string name = letters(name_letters, 'A', random);
    if (used.insert(name).second) chain.names.push_back(std::move(name));
  }
  for (int i = 0; i <= kHops; ++i) chain.depths.push_back(random.uniform());
  std::sort(chain.depths.begin(), chain.depths.end());
  return chain;
}

// `count` lines of noise with the assignments among them, in order.
std::string tell(const Chain& chain, int64_t count) {
  std::vector<std::string> lines;
  size_t next = 0;
  for (int64_t i = 0; i <= count; ++i) {
    const double end = static_cast<double>(i + 1) / static_cast<double>(count + 1);
    for (; next < chain.names.size() && (chain.depths[next] < end || i == count); ++next) {
      const std::string assigned = next == 0 ? chain.value : "VAR " + chain.names[next - 1];
      lines.push_back(fmt::format("VAR {} = {}", chain.names[next], assigned));
    }
    if (i < count) lines.emplace_back(kNoise[static_cast<size_t>(i) % kNoise.size()]);
  }
  return join(lines, "\n");
}

std::string ask_chain(const Chain& chain, int64_t count) {
  return fmt::format(
      "Variables are assigned values in the text below, directly or from one another. Keep track of them.\n\n{}\n\n"
      "Which variables hold the value {} in the text above?",
      tell(chain, count), chain.value);
}

std::string chain_prefix(const Chain& chain) {
  return fmt::format("Following the assignments in the text above, {} variables hold the value {}:", chain.names.size(),
                     chain.value);
}

// --- common words

// As RULER's: of every common word and of every other one.
struct Occurrences {
  int common, other;
};

struct WordList {
  std::vector<std::string> common;
  std::string text;
};

// The words of the list are the first ones of `vocabulary`: common ones, then `others`.
WordList list_words(const std::vector<std::string>& vocabulary, int64_t others, Occurrences times, Random random) {
  WordList list;
  std::vector<std::string> words;
  for (int64_t i = 0; i < kCommonWords + others; ++i) {
    const std::string& word = vocabulary[static_cast<size_t>(i)];
    if (i < kCommonWords) list.common.push_back(word);
    words.insert(words.end(), static_cast<size_t>(i < kCommonWords ? times.common : times.other), word);
  }
  shuffle(words, random);
  for (size_t i = 0; i < words.size(); ++i) list.text += fmt::format("{}{}. {}", i == 0 ? "" : " ", i + 1, words[i]);
  return list;
}

std::vector<std::string> draw_words(int64_t count, Random& random) {
  std::set<std::string> used;
  std::vector<std::string> words;
  while (static_cast<int64_t>(words.size()) < count) {
    // Pairs are soon used up.
    std::string word = made_up_name(random);
    if (words.size() > 500) word += "-" + made_up_name(random);
    if (used.insert(word).second) words.push_back(std::move(word));
  }
  return words;
}

std::string ask_common(const WordList& list) {
  return fmt::format(
      "Below is a numbered list of words. Some of them occur more often than the others. Keep in mind the ones that "
      "occur "
      "most often.\n\n{}\n\nWhich are the {} most common words in the list above?",
      list.text, kCommonWords);
}

constexpr const char* kCommonPrefix = "The 10 most common words in the list are:";

std::string numbered(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += fmt::format(" {}. {}", i + 1, words[i]);
  return text;
}

// --- frequent words

// Zipf with exponent 2: word of rank k in N stands N k^-2 / zeta(2) times. The first rank is noise.
std::string coded_text(const std::vector<std::string>& vocabulary, int64_t total, Random random) {
  constexpr double kZeta2 = std::numbers::pi * std::numbers::pi / 6;
  std::vector<std::string> words;
  for (size_t k = 0; k < vocabulary.size(); ++k) {
    const double rank = static_cast<double>(k + 1);
    const auto times = static_cast<size_t>(static_cast<double>(total) / (rank * rank) / kZeta2);
    words.insert(words.end(), times, k == 0 ? "..." : vocabulary[k]);
  }
  shuffle(words, random);
  return join(words, " ");
}

}  // namespace

std::vector<Sample> make_variable_tracking(const TaskSetting& setting) {
  return make_synthetic(setting, "variable_tracking", [&](Draw& draw) {
    const Chain example = draw_chain(3, draw.random), chain = draw_chain(5, draw.random);
    const std::string solved = ask_chain(example, 5) + "\n" + chain_prefix(example) + " " + join(example.names, " ");
    return fill_length(setting, draw.length, draw.length, [&](int64_t count) {
      Sample sample;
      sample.request = Generate{kVariableTokens};
      sample.prompt = solved + "\n\n\n" + ask_chain(chain, count);
      sample.answer_prefix = chain_prefix(chain);
      sample.gold = " " + join(chain.names, " ");
      sample.references = chain.names;
      return sample;
    });
  });
}

std::vector<Sample> make_common_words(const TaskSetting& setting) {
  return make_synthetic(setting, "common_words", [&](Draw& draw) {
    const bool is_short = draw.length < kShortList;
    const int64_t most = draw.length / 2, example_words = is_short ? 10 : 30;
    const std::vector<std::string> words = draw_words(kCommonWords + most, draw.random);
    const std::vector<std::string> others = draw_words(kCommonWords + example_words, draw.random);
    const Random order = draw.random;
    const Occurrences few = is_short ? Occurrences{3, 1} : Occurrences{10, 3};
    const WordList example = list_words(others, example_words, few, order);
    const std::string solved = ask_common(example) + "\n" + kCommonPrefix + numbered(example.common);
    return fill_length(setting, draw.length, most, [&](int64_t count) {
      const WordList list = list_words(words, count, is_short ? Occurrences{6, 1} : Occurrences{30, 3}, order);
      Sample sample;
      sample.request = Generate{kCommonTokens};
      sample.prompt = solved + "\n\n\n" + ask_common(list);
      sample.answer_prefix = kCommonPrefix;
      sample.gold = numbered(list.common);
      sample.references = list.common;
      return sample;
    });
  });
}

std::vector<Sample> make_frequent_words(const TaskSetting& setting) {
  return make_synthetic(setting, "frequent_words", [&](Draw& draw) {
    std::set<std::string> vocabulary;
    while (static_cast<int>(vocabulary.size()) < std::max(8, draw.length / 50)) {
      vocabulary.insert(letters(6, 'a', draw.random));
    }
    std::vector<std::string> words(vocabulary.begin(), vocabulary.end());
    shuffle(words, draw.random);
    const Random order = draw.random;
    constexpr int64_t kLeast = 30;  // of which the fourth word stands once
    return fill_length(setting, draw.length, draw.length, [&](int64_t count) {
      Sample sample;
      sample.request = Generate{kFrequentTokens};
      sample.prompt = fmt::format(
          "The text below is written in code words; dots mean nothing. Find the three code words that occur most "
          "often.\n\n{}\n\nWhich three code words occur most often in the text above?",
          coded_text(words, kLeast + count, order));
      sample.answer_prefix = "The three most frequent code words in the text are:";
      sample.references = {words[1], words[2], words[3]};
      sample.gold = " " + join(sample.references, ", ");
      return sample;
    });
  });
}

}  // namespace kvpareto
