#include "eval/tasks/synthetic.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"

namespace kvpareto {
namespace {

constexpr double kGolden = 0.6180339887498949;

constexpr std::array<std::string_view, 32> kFirst = {
    "amber",   "brisk",  "candid",  "distant", "eager",  "fluent", "gentle", "hollow", "idle",   "jagged", "keen",
    "lively",  "mellow", "nimble",  "opaque",  "placid", "quaint", "ragged", "solemn", "tender", "unruly", "vivid",
    "wistful", "zesty",  "bashful", "clumsy",  "dapper", "frugal", "glossy", "humble", "lavish", "murky"};
constexpr std::array<std::string_view, 32> kSecond = {
    "anchor", "beacon", "canyon",  "dagger", "ember",  "falcon",  "glacier", "harvest", "island",  "jungle", "kernel",
    "lagoon", "meadow", "nectar",  "orchid", "pebble", "quiver",  "raven",   "summit",  "thicket", "urchin", "velvet",
    "walrus", "yonder", "blossom", "cobalt", "dynamo", "feather", "granite", "hermit",  "lantern", "marble"};

}  // namespace

std::vector<Sample> make_synthetic(const TaskSetting& setting, std::string_view task,
                                   const std::function<Sample(Draw&)>& make) {
  if (setting.samples < 1) fail_usage("wanted at least 1 sample, found {}", setting.samples);
  const size_t lengths = setting.lengths.size();
  std::vector<Sample> samples;
  for (uint64_t i = 0; samples.size() < static_cast<size_t>(setting.samples); ++i) {
    Draw draw{fmt::format("{}, seed {}, {}", task, setting.seed, i)};
    if (!belongs(draw.key, setting.split)) continue;
    const size_t place = samples.size();
    draw.length = setting.lengths[place % lengths];
    double whole = 0;
    draw.depth = std::modf(0.5 + kGolden * static_cast<double>(place / lengths), &whole);
    draw.random = Random(hash_text(draw.key));
    Sample sample = make(draw);
    sample.key = draw.key;
    if (lengths > 1) sample.part = fmt::format("{} tokens", draw.length);
    samples.push_back(std::move(sample));
  }
  return samples;
}

Sample fill_length(const TaskSetting& setting, int length, int64_t most,
                   const std::function<Sample(int64_t units)>& make) {
  Sample best = make(0);
  const int64_t room = length - std::get<Generate>(best.request).max_tokens;
  const int64_t least = setting.count_tokens(best);
  if (least > room) {
    fail_usage("wanted samples of {} tokens, found that question and answer alone have {}", length,
               least + length - room);
  }
  int64_t fits = 0, too_many = most + 1;
  while (too_many - fits > 1) {
    const int64_t middle = (fits + too_many) / 2;
    Sample tried = make(middle);
    if (setting.count_tokens(tried) <= room) {
      fits = middle;
      best = std::move(tried);
    } else {
      too_many = middle;
    }
  }
  return best;
}

std::string made_up_name(Random& random) {
  const std::string_view first = kFirst[random.below(kFirst.size())];
  return fmt::format("{}-{}", first, kSecond[random.below(kSecond.size())]);
}

std::string made_up_uuid(Random& random) {
  const uint64_t high = (random.next() & ~uint64_t{0xf000}) | 0x4000;
  const uint64_t low = (random.next() & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xffff, low >> 48,
                     low & 0xffffffffffff);
}

std::string made_up_number(Random& random) { return std::to_string(1000000 + random.below(9000000)); }

}  // namespace kvpareto
