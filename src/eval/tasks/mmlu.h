#pragma once
// Multiple choice over 57 subjects (arXiv 2009.03300): five examples of the subject, then the likeliest of A, B, C, D.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_mmlu(const TaskSetting& setting);

}  // namespace kvpareto
