#pragma once
// What tasks that the program writes itself have in common: samples of wanted lengths, one by one from seeds of their
// own, so that more samples never change those that were there.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "eval/task.h"

namespace kvpareto {

// What one sample is made from.
struct Draw {
  std::string key;
  int length = 0;    // tokens, prompt as the model is shown it, answer prefix and answer
  double depth = 0;  // 0 to 1, spread evenly over the samples of a length (golden-ratio sequence)
  Random random{0};
};

// As many samples of the split as the setting asks for, lengths in turn. Throws Error (kUsage) for fewer than 1.
std::vector<Sample> make_synthetic(const TaskSetting& setting, std::string_view task,
                                   const std::function<Sample(Draw&)>& make);

// The sample with the most units (of hay, of words) up to `most` that fits its length: bisection over the tokens that
// the model is shown. Throws Error (kUsage) if even none is too long.
Sample fill_length(const TaskSetting& setting, int length, int64_t most,
                   const std::function<Sample(int64_t units)>& make);

// "vivid-lantern"; "3f2a...": a random UUID of version 4; seven digits.
std::string made_up_name(Random& random);
std::string made_up_uuid(Random& random);
std::string made_up_number(Random& random);

}  // namespace kvpareto
