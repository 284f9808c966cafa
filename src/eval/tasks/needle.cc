#include "eval/tasks/needle.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "eval/tasks/haystack.h"

namespace kvpareto {
namespace {

constexpr int kAnswerTokens = 16;  // seven digits are at most seven tokens; models put a few words before them
constexpr int kManyKeys = 4;       // RULER's niah_multikey_1

constexpr std::array<std::string_view, 32> kFirst = {
    "amber",   "brisk",  "candid",  "distant", "eager",  "fluent", "gentle", "hollow", "idle",   "jagged", "keen",
    "lively",  "mellow", "nimble",  "opaque",  "placid", "quaint", "ragged", "solemn", "tender", "unruly", "vivid",
    "wistful", "zesty",  "bashful", "clumsy",  "dapper", "frugal", "glossy", "humble", "lavish", "murky"};
constexpr std::array<std::string_view, 32> kSecond = {
    "anchor", "beacon", "canyon",  "dagger", "ember",  "falcon",  "glacier", "harvest", "island",  "jungle", "kernel",
    "lagoon", "meadow", "nectar",  "orchid", "pebble", "quiver",  "raven",   "summit",  "thicket", "urchin", "velvet",
    "walrus", "yonder", "blossom", "cobalt", "dynamo", "feather", "granite", "hermit",  "lantern", "marble"};

struct Needle {
  std::string key, value;
  double depth = 0;
};

std::string sentence_of(const Needle& needle) {
  return fmt::format("One of the special magic numbers for {} is: {}.", needle.key, needle.value);
}

std::vector<Needle> draw_needles(int count, double asked_depth, Random& random) {
  std::vector<Needle> needles;
  std::set<std::string> used;
  while (static_cast<int>(needles.size()) < count) {
    Needle needle;
    needle.key = fmt::format("{}-{}", kFirst[random.below(kFirst.size())], kSecond[random.below(kSecond.size())]);
    needle.value = std::to_string(1000000 + random.below(9000000));
    needle.depth = needles.empty() ? asked_depth : random.uniform();
    if (!used.insert(needle.key).second || !used.insert(needle.value).second) continue;
    needles.push_back(std::move(needle));
  }
  return needles;
}

// The first `count` sentences of the hay with every needle before the sentence at its depth.
std::string hide(const std::vector<std::string>& hay, int64_t count, std::vector<Needle> needles) {
  std::stable_sort(needles.begin(), needles.end(), [](const Needle& a, const Needle& b) { return a.depth < b.depth; });
  std::vector<std::string> sentences;
  size_t next = 0;
  for (int64_t i = 0; i <= count; ++i) {
    const double end = static_cast<double>(i + 1) / static_cast<double>(count + 1);
    while (next < needles.size() && (needles[next].depth < end || i == count)) {
      sentences.push_back(sentence_of(needles[next++]));
    }
    if (i < count) sentences.push_back(hay[static_cast<size_t>(i)]);
  }
  return join(sentences, " ");
}

Generate request_of(const std::string& text, const std::string& key) {
  return {
      fmt::format("The text below hides special magic numbers. Read it with care and keep them in mind: afterwards you "
                  "will be asked for one of them.\n\n{}\n\nWhat is the special magic number for {} mentioned in the "
                  "text above?",
                  text, key),
      fmt::format("The special magic number for {} mentioned in the text is", key), kAnswerTokens};
}

Sample make_sample(const TaskSetting& setting, const std::vector<Needle>& needles, Random& random) {
  // Enough hay: written sentences have eight tokens or more, a user's at least one.
  const bool own = setting.haystack.empty();
  const int64_t most = std::max(1, own ? setting.tokens / 8 : setting.tokens);
  const std::vector<std::string> hay = own ? write_hay(most, random) : cut_hay(setting.haystack, most, random);
  const std::string& key = needles.front().key;
  const auto request = [&](int64_t count) { return request_of(hide(hay, count, needles), key); };
  const int64_t room = setting.tokens - kAnswerTokens;
  const int64_t least = setting.count_tokens(request(0));
  if (least > room) {
    fail_usage("wanted retrieval samples of {} tokens, found that question and answer alone have {}", setting.tokens,
               least + kAnswerTokens);
  }
  int64_t fits = 0, too_many = most + 1;
  while (too_many - fits > 1) {
    const int64_t middle = (fits + too_many) / 2;
    (setting.count_tokens(request(middle)) <= room ? fits : too_many) = middle;
  }
  return {request(fits), " " + needles.front().value, needles.front().depth};
}

std::vector<Sample> make_samples(const TaskSetting& setting, int needles) {
  if (setting.samples < 1) fail_usage("wanted at least 1 sample, found {}", setting.samples);
  Random random(setting.seed);
  std::vector<Sample> samples;
  for (int i = 0; i < setting.samples; ++i) {
    const double depth = (i + random.uniform()) / setting.samples;
    const std::vector<Needle> drawn = draw_needles(needles, depth, random);
    samples.push_back(make_sample(setting, drawn, random));
  }
  return samples;
}

}  // namespace

std::vector<Sample> make_needle(const TaskSetting& setting) { return make_samples(setting, 1); }

std::vector<Sample> make_needle_multikey(const TaskSetting& setting) { return make_samples(setting, kManyKeys); }

double mark_needle(const Sample& sample, std::string_view answer) {
  const std::string_view digits = std::string_view(sample.gold).substr(1);
  return answer.find(digits) == std::string_view::npos ? 0 : 1;
}

}  // namespace kvpareto
