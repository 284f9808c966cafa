#pragma once
// Tasks of RULER (arXiv 2404.06654) that ask for more than finding: following a chain of assignments, counting words.
// The words of "common_words" are pairs of words ("vivid-lantern") instead of a dictionary's.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_variable_tracking(const TaskSetting& setting);  // vt: one chain of four hops in noise
std::vector<Sample> make_common_words(const TaskSetting& setting);       // cwe: the ten words that occur most
std::vector<Sample> make_frequent_words(const TaskSetting& setting);     // fwe: the three most frequent made-up words

}  // namespace kvpareto
