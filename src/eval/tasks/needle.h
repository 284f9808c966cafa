#pragma once
// Needle in a haystack, the eight tasks of RULER (arXiv 2404.06654): "needle" is its niah_single_2 and
// "needle_multikey" its niah_multikey_1, the others have its names. Differences: the running text is written by the
// program (or given by the user), the asked needle's depth is spread evenly over the samples instead of drawn, and
// answers are shorter.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_needle(const TaskSetting& setting);
std::vector<Sample> make_needle_multikey(const TaskSetting& setting);
std::vector<Sample> make_niah_single_1(const TaskSetting& setting);
std::vector<Sample> make_niah_single_3(const TaskSetting& setting);
std::vector<Sample> make_niah_multikey_2(const TaskSetting& setting);
std::vector<Sample> make_niah_multikey_3(const TaskSetting& setting);
std::vector<Sample> make_niah_multivalue(const TaskSetting& setting);
std::vector<Sample> make_niah_multiquery(const TaskSetting& setting);

}  // namespace kvpareto
