#pragma once
// What both halves know of a task: its name, how its score reads and what a guess gets. Its samples and its marking are
// in eval/tasks/. The figures of a task follow from here (figures.cc): its score, further scores, and the negative
// log-likelihood of the right answer as "<name>_nll".
//
// To add a task: a line here, a file in eval/tasks/ and a line in the list of eval/tasks.cc.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

enum class ScoreKind {
  kShare,      // mean over samples of marks from 0 to 1
  kPerplexity  // exponential of the mean over samples of their negative log-likelihood a token
};

struct TaskFacts {
  std::string name;         // "hotpotqa", also of its score's figure
  std::string label;        // "HotpotQA"
  std::string description;  // what the score says, a sentence
  double chance = 0;        // what is got without reading: guesses among choices, common words of answers
  ScoreKind kind = ScoreKind::kShare;
  // A second mark of the same answers: the end of its figure's name, its label and description; empty for most.
  struct Also {
    std::string ending, label, description;
  };
  std::vector<Also> also = {};
};

// In the order of columns.
std::span<const TaskFacts> task_facts();
// Null if there is none of this name.
const TaskFacts* find_task_facts(std::string_view name);

}  // namespace kvpareto
