#pragma once
// Grade-school mathematics (arXiv 2110.14168) as lm-evaluation-harness asks it: five worked examples, free
// continuation, two ways to find the number.

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace kvpareto {

std::vector<Sample> make_gsm8k(const TaskSetting& setting);

// Flexible (the last number of the answer), then strict (the number behind "####"). A right one equals the gold number
// once commas, dollar signs and a final point are gone.
std::vector<double> mark_gsm8k(const Sample& sample, std::string_view answer);

}  // namespace kvpareto
