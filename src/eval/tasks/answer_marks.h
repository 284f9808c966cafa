#pragma once
// Marks that several tasks share.

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace kvpareto {

// Words of an answer as SQuAD's and LongBench's scripts compare them: lower case, ASCII punctuation dropped, "a", "an"
// and "the" left out. Letters outside ASCII keep their case.
std::vector<std::string> answer_words(std::string_view text);

// Harmonic mean of precision and recall of words, counted as often as they occur; 0 if none is common.
double token_f1(std::string_view answer, std::string_view reference);

// The references of a sample: its gold answer without white space at the ends if it lists none.
std::vector<std::string> references_of(const Sample& sample);

std::vector<double> mark_f1(const Sample& sample, std::string_view answer);  // the best over references
// The same of the answer's first line, for prompts whose examples an answer would go on with.
std::vector<double> mark_f1_of_line(const Sample& sample, std::string_view answer);
std::vector<double> mark_choice(const Sample& sample, std::string_view answer);  // 1 if it is the gold choice
// The share of references that stand in the answer, whatever their case (RULER's match all).
std::vector<double> mark_all(const Sample& sample, std::string_view answer);
// 1 if one of the references stands in the answer, whatever its case (RULER's match part).
std::vector<double> mark_any(const Sample& sample, std::string_view answer);

}  // namespace kvpareto
