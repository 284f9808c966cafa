#pragma once
// The one way this program uses more than one core: OpenMP, whose pool oneDNN shares. Only one thread (the engine's)
// may be inside these functions at a time.

#include <omp.h>

#include <cstdint>

namespace kvpareto {

// Threads that parallel_for uses; at first what OpenMP finds.
inline int thread_count() { return omp_get_max_threads(); }
inline void set_thread_count(int threads) { omp_set_num_threads(threads); }

// The number of the calling thread inside parallel_for, 0 to thread_count() - 1.
inline int thread_number() { return omp_get_thread_num(); }

// Calls body(i) for every i in [0, count), handing out single indices as threads come free.
template <typename Body>
void parallel_for(int64_t count, Body body) {
  if (count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) body(i);
}

// The same, but neighbours stay together: so many pieces of [0, count) are handed out.
template <typename Body>
void parallel_pieces(int64_t count, int64_t pieces, Body body) {
  parallel_for(pieces, [&](int64_t piece) {
    for (int64_t i = count * piece / pieces; i < count * (piece + 1) / pieces; ++i) body(i);
  });
}

// Calls body(begin, end) over pieces of [0, count), one a thread, each but the last a multiple of `grain`.
template <typename Body>
void parallel_ranges(int64_t count, int64_t grain, Body body) {
  const int64_t pieces = (count + grain - 1) / grain;
  const int64_t threads = pieces < thread_count() ? pieces : thread_count();
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(static_cast<int>(threads))
  {
    const int64_t t = omp_get_thread_num();
    const int64_t begin = pieces * t / threads * grain;
    int64_t end = pieces * (t + 1) / threads * grain;
    if (end > count) end = count;
    if (begin < end) body(begin, end);
  }
}

}  // namespace kvpareto
