#include "backend/host_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace kvpareto {
namespace {

constexpr size_t kPage = 4096;

bool all_are(const void* data, size_t bytes, uint8_t value) {
  const auto* begin = static_cast<const uint8_t*>(data);
  return std::all_of(begin, begin + bytes, [&](uint8_t byte) { return byte == value; });
}

TEST(HostMemory, WhatIsGivenUpComesBackAsZeros) {
  for (int round = 0; round < 20; ++round) {
    const size_t bytes = size_t{1} << round;
    void* data = obtain_pages(bytes);
    ASSERT_NE(data, nullptr);
    EXPECT_TRUE(all_are(data, bytes, 0)) << bytes;
    std::memset(data, 0xff, bytes);
    give_up_pages(data, bytes);
  }
}

TEST(HostMemory, GivingUpOneLeavesItsNeighbours) {
  constexpr size_t kBytes = 3 * kPage + 64;
  std::vector<void*> held;
  for (int i = 0; i < 9; ++i) {
    held.push_back(obtain_pages(kBytes));
    std::memset(held.back(), i, kBytes);
  }
  for (size_t i = 0; i < held.size(); i += 2) give_up_pages(held[i], kBytes);
  for (size_t i = 1; i < held.size(); i += 2) {
    EXPECT_TRUE(all_are(held[i], kBytes, static_cast<uint8_t>(i))) << i;
    give_up_pages(held[i], kBytes);
  }
}

// Large pages can hold parts of several only then.
TEST(HostMemory, BuffersLieOneBehindAnother) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizers want a guard behind each";
#endif
  constexpr size_t kBytes = 700 * kPage;
  std::vector<char*> held;
  for (int i = 0; i < 6; ++i) held.push_back(static_cast<char*>(obtain_pages(kBytes)));
  for (size_t i = 1; i < held.size(); ++i) EXPECT_EQ(held[i] - held[i - 1], static_cast<std::ptrdiff_t>(kBytes)) << i;
  for (char* data : held) give_up_pages(data, kBytes);
}

TEST(HostMemory, MoreThanThereIsIsNull) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (const size_t bytes : {size_t{1} << 50, size_t{1} << 60, kMost / 64 * 64, kMost - kPage})
    EXPECT_EQ(obtain_pages(bytes), nullptr) << bytes;
  void* data = obtain_pages(64);
  ASSERT_NE(data, nullptr);
  give_up_pages(data, 64);
}

TEST(HostMemory, ThreadsHaveBuffersOfTheirOwn) {
  constexpr size_t kBytes = 5 * kPage;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int round = 0; round < 200; ++round) {
        void* data = obtain_pages(kBytes);
        std::memset(data, t, kBytes);
        std::this_thread::yield();
        EXPECT_TRUE(all_are(data, kBytes, static_cast<uint8_t>(t)));
        give_up_pages(data, kBytes);
      }
    });
  }
}

}  // namespace
}  // namespace kvpareto
