#include "eval/tasks/key_value.h"

#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "eval/tasks/synthetic.h"

namespace kvpareto {
namespace {

constexpr int kAnswerTokens = 48;  // a UUID, should each character be a token

}  // namespace

std::vector<Sample> make_key_value(const TaskSetting& setting) {
  return make_synthetic(setting, "key_value", [&](Draw& draw) {
    const int64_t most = draw.length / 2;  // a pair has more tokens than that
    const std::string key = made_up_uuid(draw.random), value = made_up_uuid(draw.random);
    std::vector<std::string> pairs;
    for (int64_t i = 0; i < most; ++i) {
      const std::string other = made_up_uuid(draw.random);
      pairs.push_back(fmt::format("\"{}\": \"{}\"", other, made_up_uuid(draw.random)));
    }
    return fill_length(setting, draw.length, most, [&](int64_t count) {
      std::vector<std::string> shown(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(count));
      const auto place = std::llround(draw.depth * static_cast<double>(count));
      shown.insert(shown.begin() + place, fmt::format("\"{}\": \"{}\"", key, value));
      Sample sample;
      sample.request = Generate{kAnswerTokens};
      sample.prompt = fmt::format(
          "Extract the value that belongs to the given key from the JSON object below.\n\n{{{}}}\n\nKey: \"{}\"\nWhat "
          "is "
          "its value?",
          join(shown, ",\n"), key);
      sample.answer_prefix = "Value: \"";
      sample.gold = value;
      sample.references = {value};
      sample.depth = draw.depth;
      return sample;
    });
  });
}

}  // namespace kvpareto
