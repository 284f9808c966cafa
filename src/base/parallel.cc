#include "base/parallel.h"

#include <strings.h>

#include <cstdlib>
#include <exception>
#include <optional>

namespace kvpareto {
namespace {

// Looks of a waiting thread before it sleeps, some 50 us: on a machine that others use too it would take the core from
// the thread that it waits for. None where OpenMP's threads are told not to.
int most_looks() {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  return policy != nullptr && strcasecmp(policy, "passive") == 0 ? 0 : 2000;
}
const int kLooks = most_looks();

template <typename Number>
Number wait_while(const std::atomic<Number>& number, Number value) {
  for (int look = 0; look < kLooks; ++look) {
    const Number now = number.load(std::memory_order_acquire);
    if (now != value) return now;
    __builtin_ia32_pause();
  }
  number.wait(value, std::memory_order_acquire);
  return number.load(std::memory_order_acquire);
}

// Threads that are kept together: one leads, the others follow from job to job.
class Team {
 public:
  bool is_free() const { return size_ > 0 && !running_ && omp_get_thread_num() == 0; }

  // The number of the last job, which followers are told before there is another one.
  uint32_t last_job() const { return job_.load(std::memory_order_relaxed); }

  void open(int size) { size_ = size; }
  void close() {
    begin(0, std::nullopt);
    size_ = 0;
  }

  void run(int parts, FunctionRef<void(int)> body) noexcept {
    running_ = true;
    begin(parts, body);
    for (int part = 0; part < parts; part += size_) body(part);
    for (int busy = busy_.load(std::memory_order_acquire); busy > 0;) busy = wait_while(busy_, busy);
    running_ = false;
  }

  void follow(int number, uint32_t job) {
    while (true) {
      job = wait_while(job_, job);
      if (!body_) return;
      for (int part = number; part < parts_; part += size_) (*body_)(part);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
    }
  }

 private:
  void begin(int parts, std::optional<FunctionRef<void(int)>> body) {
    parts_ = parts;
    body_ = body;
    busy_.store(size_ - 1, std::memory_order_relaxed);
    job_.fetch_add(1, std::memory_order_release);
    job_.notify_all();
  }

  // What the leader writes and what followers write are on lines of their own.
  alignas(64) std::atomic<uint32_t> job_{0};
  int parts_ = 0, size_ = 0;
  bool running_ = false;
  std::optional<FunctionRef<void(int)>> body_;
  alignas(64) std::atomic<int> busy_{0};
};
Team team;

}  // namespace

void run_parts(int parts, FunctionRef<void(int)> body) {
  if (team.is_free()) return team.run(parts, body);
#pragma omp parallel num_threads(parts)
  for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) body(part);
}

void keep_together(FunctionRef<void()> body) {
  const int threads = thread_count();
  if (threads == 1 || omp_in_parallel()) return body();
  std::exception_ptr error;
  const uint32_t last = team.last_job();
#pragma omp parallel num_threads(threads)
  if (omp_get_thread_num() == 0) {
    team.open(omp_get_num_threads());
    try {
      body();
    } catch (...) {
      error = std::current_exception();
    }
    team.close();
  } else {
    team.follow(omp_get_thread_num(), last);
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace kvpareto
