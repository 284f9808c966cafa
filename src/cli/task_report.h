#pragma once
// Scores of tasks as people read them: against the 16-bit baseline on the same samples, with what can be told from so
// many and what cannot.

#include <string>
#include <vector>

#include "eval/task_set.h"
#include "study/measurement.h"

namespace kvpareto {

// The baseline of a measurement: 16-bit cache and weights, else the 16-bit cache with the same weights, at the same
// chunk if that was measured; null if there is none.
const Measurement* baseline_of(const Measurement& m, const std::vector<Measurement>& measured);

// A row a point and score: value, standard error, samples, paired difference with its 95 % interval, and whether that
// is a tie.
std::string task_table(const std::vector<Measurement>& measured);

// For every task: samples needed to tell a difference of 1 and of 3 points, from the spread seen here.
std::string power_lines(const std::vector<Measurement>& measured);

// How many samples got worse and better, and which got worse the most.
std::string regression_lines(const std::vector<Measurement>& measured);

// Scores by part of a task (subject, length), where it has several; of needles by length and fifth of the depth, with
// the number of samples.
std::string part_table(const TaskSet& tasks, const std::vector<Measurement>& measured);
std::string depth_table(const TaskSet& tasks, const std::vector<Measurement>& measured);

// One line of JSON for every sample of every point: fingerprints and token ids of what was shown, gold answer, answer
// and scores. `results`: of every point, as Evaluator::measure_tasks gave them.
std::string sample_log(const TaskSet& tasks, const std::vector<Measurement>& measured,
                       const std::vector<TaskResults>& results, const Tokenizer& tokenizer);

}  // namespace kvpareto
