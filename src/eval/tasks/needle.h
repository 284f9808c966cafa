#pragma once
// Needle in a haystack, after RULER (arXiv 2404.06654): "needle" is its niah_single_2 and "needle_multikey" its
// niah_multikey_1, with two differences: the haystack is written by the program (or given by the user), and the asked
// needle's depth is spread evenly over the samples instead of drawn.

#include <string_view>
#include <vector>

#include "eval/task.h"

namespace kvpareto {

std::vector<Sample> make_needle(const TaskSetting& setting);
std::vector<Sample> make_needle_multikey(const TaskSetting& setting);

// 1 if the digits stand in the answer, else 0.
double mark_needle(const Sample& sample, std::string_view answer);

}  // namespace kvpareto
