#pragma once
// Retrieval among pairs that nothing but their letters tells apart ("Lost in the Middle", arXiv 2307.03172): a JSON
// object of random UUIDs, the value of one key asked for.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_key_value(const TaskSetting& setting);

}  // namespace kvpareto
