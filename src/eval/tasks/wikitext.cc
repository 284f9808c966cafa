#include "eval/tasks/wikitext.h"

#include "base/error.h"
#include "base/file.h"
#include "eval/data.h"

namespace kvpareto {

std::vector<Sample> make_wikitext2(const TaskSetting& setting) {
  const bool tunes = setting.split == Split::kSearch || setting.split == Split::kCalibration;
  const std::string name = tunes ? "wiki.valid.raw" : "wiki.test.raw";
  const std::vector<int32_t> tokens = setting.tokenize(read_file(data_path(setting.data, "wikitext2_raw/" + name)));
  const auto length = static_cast<size_t>(setting.lengths.front());
  std::vector<std::string> keys;
  for (size_t i = 0; i < tokens.size() / length; ++i)
    keys.push_back(fmt::format("{}, window {} of {}", name, i, length));
  if (keys.empty()) fail_usage("wanted windows of {} tokens, found {} tokens in {}", length, tokens.size(), name);
  // The two texts are the split; only search and calibration share one.
  const Split split = tunes ? setting.split : Split::kAll;
  std::vector<Sample> samples;
  for (const size_t i : choose_samples(keys, split, setting.seed, setting.samples)) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(i * length);
    samples.push_back({keys[i], Read{{begin, begin + static_cast<std::ptrdiff_t>(length)}}});
  }
  return samples;
}

}  // namespace kvpareto
