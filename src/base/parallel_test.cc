#include "base/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace kvpareto {
namespace {

// Every function is tried alone and where threads are kept together, with fewer, as many and more threads than cores.
class Parallel : public ::testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  Parallel() { set_thread_count(std::get<0>(GetParam())); }
  ~Parallel() override { set_thread_count(before_); }

  template <typename Body>
  void run(Body body) {
    if (std::get<1>(GetParam())) return keep_together(body);
    body();
  }

 private:
  const int before_ = thread_count();
};

TEST_P(Parallel, EveryIndexIsTakenOnce) {
  run([] {
    for (int64_t count = 0; count < 300; ++count) {
      std::vector<int> taken(static_cast<size_t>(count));
      parallel_for(count, [&](int64_t i) { ++taken[static_cast<size_t>(i)]; });
      EXPECT_EQ(taken, std::vector<int>(static_cast<size_t>(count), 1));
    }
  });
}

TEST_P(Parallel, RangesCoverAllAndAreWholeGrains) {
  run([] {
    for (int64_t count = 0; count < 300; ++count) {
      std::vector<int> taken(static_cast<size_t>(count));
      parallel_ranges(count, 16, [&](int64_t begin, int64_t end) {
        EXPECT_EQ(begin % 16, 0);
        for (int64_t i = begin; i < end; ++i) ++taken[static_cast<size_t>(i)];
      });
      EXPECT_EQ(taken, std::vector<int>(static_cast<size_t>(count), 1));
    }
  });
}

// What one loop wrote the next one reads, from whichever thread.
TEST_P(Parallel, ALoopSeesWhatTheOneBeforeItWrote) {
  std::vector<int64_t> sums(64, 1);
  run([&] {
    for (int loop = 0; loop < 200; ++loop) {
      std::vector<int64_t> next(sums.size());
      parallel_for(static_cast<int64_t>(sums.size()), [&](int64_t i) {
        next[static_cast<size_t>(i)] = (sums[static_cast<size_t>(i)] + sums[static_cast<size_t>((i + 1) % 64)]) % 1009;
      });
      sums.swap(next);
    }
  });
  int64_t expected = 1;
  for (int loop = 0; loop < 200; ++loop) expected = expected * 2 % 1009;
  EXPECT_EQ(sums, std::vector<int64_t>(64, expected));
}

TEST_P(Parallel, ALoopInsideALoopIsDoneWhole) {
  std::atomic<int> taken{0};
  run([&] {
    parallel_for(8, [&](int64_t) {
      parallel_for(8, [&](int64_t) { ++taken; });
      parallel_ranges(8, 1, [&](int64_t begin, int64_t end) { taken += static_cast<int>(end - begin); });
    });
  });
  EXPECT_EQ(taken, 8 * 16);
}

TEST_P(Parallel, ThreadNumbersAreDistinctAndSmall) {
  run([] {
    std::vector<std::atomic<int>> inside(static_cast<size_t>(thread_count()));
    parallel_for(1000, [&](int64_t) {
      std::atomic<int>& mine = inside.at(static_cast<size_t>(thread_number()));
      EXPECT_EQ(mine.fetch_add(1), 0);
      mine.fetch_sub(1);
    });
  });
}

// Nothing would tell else that all is done by one.
TEST_P(Parallel, EveryThreadHasItsPart) {
  std::vector<int> numbers(static_cast<size_t>(thread_count()), -1), expected(numbers);
  std::iota(expected.begin(), expected.end(), 0);
  run([&] {
    for (int loop = 0; loop < 20; ++loop) {
      std::ranges::fill(numbers, -1);
      run_parts(thread_count(), [&](int part) { numbers[static_cast<size_t>(part)] = thread_number(); });
      EXPECT_EQ(numbers, expected);
    }
  });
}

TEST_P(Parallel, AnErrorBetweenLoopsIsTheCallers) {
  EXPECT_THROW(run([] {
                 parallel_for(8, [](int64_t) {});
                 throw std::runtime_error("between");
               }),
               std::runtime_error);
  std::atomic<int> taken{0};
  run([&] { parallel_for(100, [&](int64_t) { ++taken; }); });
  EXPECT_EQ(taken, 100);
}

INSTANTIATE_TEST_SUITE_P(Threads, Parallel, ::testing::Combine(::testing::Values(1, 2, 3, 9), ::testing::Bool()));

}  // namespace
}  // namespace kvpareto
