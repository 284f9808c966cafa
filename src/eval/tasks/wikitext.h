#pragma once
// Perplexity of WikiText-2 (arXiv 1609.07843), raw, in windows that are read through the cache.

#include <vector>

#include "eval/task.h"

namespace kvpareto {

// The file tokenized whole and cut in windows of the first length. Search and calibration read the validation text, so
// that nothing is tuned on the test text.
std::vector<Sample> make_wikitext2(const TaskSetting& setting);

}  // namespace kvpareto
