#pragma once
// Question answering with distractors, RULER's qa_2 (arXiv 2404.06654): HotpotQA questions whose ten passages are
// hidden among passages of other questions, to any length.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_ruler_qa(const TaskSetting& setting);

}  // namespace kvpareto
