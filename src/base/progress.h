#pragma once
// One line on a terminal (or a line now and then in a log) that tells what is done, how fast, and how long it will
// take.

#include <chrono>
#include <cstdio>
#include <limits>
#include <string>

namespace kvpareto {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `total` units of work named `unit` ("points"); writes to `stream` (stderr by convention: results go to stdout).
  Progress(std::string title, double total, std::string unit, std::FILE* stream = stderr);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` counts from 0 to total, fractions welcome; `note` says what is under way. Units done before the start
  // (resumed work) are passed once to `skip` so that the rate counts only what was really done.
  void skip(double units) { skipped_ = units; }
  void update(double done, const std::string& note = {});
  void set_total(double total) { total_ = total; }
  // The work ends so many seconds after its start even if not all is done; the line then counts down to that.
  void set_limit(double seconds) { limit_ = seconds; }

  // The line without its terminal control, for tests; `elapsed` in seconds.
  std::string line(double done, const std::string& note, double elapsed) const;

 private:
  std::string title_, unit_;
  double total_, skipped_ = 0, limit_ = std::numeric_limits<double>::infinity();
  std::FILE* stream_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_, last_;
};

}  // namespace kvpareto
