#pragma once
// The one way this program uses more than one core: OpenMP's threads, which oneDNN shares. Only one thread (the
// engine's) may be inside these functions at a time; a loop inside a loop is done by the thread that meets it.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/function_ref.h"

namespace kvpareto {

// Threads that parallel_for uses; at first what OpenMP finds.
inline int thread_count() { return omp_get_max_threads(); }
inline void set_thread_count(int threads) { omp_set_num_threads(threads); }

// The number of the calling thread inside parallel_for, 0 to thread_count() - 1.
inline int thread_number() { return omp_get_thread_num(); }

// Calls body(part) for every part in [0, parts), each on a thread of its own as long as there are threads.
void run_parts(int parts, FunctionRef<void(int)> body);

// Calls body(), and until it returns keeps the other threads waiting for its parallel loops, which begin in a third of
// the time that OpenMP takes to wake them: for the hundreds of short loops of a decode step. What uses OpenMP itself,
// like oneDNN, has one thread in there. Errors of the body are the caller's.
void keep_together(FunctionRef<void()> body);

// Calls body(i) for every i in [0, count), handing out single indices as threads come free.
template <typename Body>
void parallel_for(int64_t count, Body body) {
  if (count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
  const auto take = [&](int) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
  };
  run_parts(thread_count(), take);
}

// Calls body(begin, end) over pieces of [0, count), one a thread, each but the last a multiple of `grain`.
template <typename Body>
void parallel_ranges(int64_t count, int64_t grain, Body body) {
  const int64_t pieces = (count + grain - 1) / grain;
  const int64_t threads = std::min<int64_t>(pieces, thread_count());
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  const auto range = [&](int t) {
    const int64_t begin = pieces * t / threads * grain, end = std::min(pieces * (t + 1) / threads * grain, count);
    if (begin < end) body(begin, end);
  };
  run_parts(static_cast<int>(threads), range);
}

}  // namespace kvpareto
