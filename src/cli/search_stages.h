#pragma once
// What a search does one after the other: propose and measure; ask the tasks; verify. Each stage keeps every
// measurement in the study as soon as it is made, and finds there what an earlier run kept.

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "cli/evaluators.h"
#include "report/findings.h"
#include "search/sampler.h"
#include "study/study.h"

namespace kvpareto {

// Seconds a search has taken, earlier runs of it included: kept in the study, so that a search that was bounded by its
// time and is started again does not begin a second helping.
class TimeSpent {
 public:
  using Clock = std::chrono::steady_clock;
  // `most` seconds in all; 0: no limit.
  TimeSpent(Study& study, const Regime& regime, Clock::time_point start, double most);
  double seconds() const { return earlier_ + std::chrono::duration<double>(Clock::now() - start_).count(); }
  void keep() { study_.set_note(name_, fmt::format("{:.3f}", seconds())); }
  bool limited() const { return most_ > 0; }
  double left(double share) const { return share * most_ - seconds(); }
  // Whether this share of the limit is used up; kept then, so that the same command given again finds it so too.
  bool is_up(double share);

 private:
  Study& study_;
  Clock::time_point start_;
  std::string name_;
  double earlier_ = 0, most_;
};

// Measures what the sampler proposes until it has enough or this share of the time is used up. Tells how long it will
// take as soon as one point is measured.
void measure_points(Evaluators& evaluators, Sampler& sampler, Study& study, TimeSpent& spent, double share);

// Puts the tasks to the baseline and to up to `most` members of the front, the recommended one and those next to it
// first: what a person would choose from.
void measure_tasks(Evaluators& evaluators, Study& study, TimeSpent& spent, double share, const ReportInput& limits,
                   int most);

// Measures up to `most` finalists on the held-out texts: the baseline's front members next to the recommended one. If
// that one does not hold up, the next one recommended, and so on.
void verify(Evaluator& held_out, const Regime& regime, Study& study, TimeSpent& spent, const ReportInput& limits,
            int most);

}  // namespace kvpareto
