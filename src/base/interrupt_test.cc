#include "base/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/testing.h"

namespace kvpareto {
namespace {

// Signals belong to a whole process, so each of these has one of its own.
class Interrupt : public ::testing::TestWithParam<int> {};

bool wait_for_interrupt() {
  for (int tries = 0; tries < 1000 && !interrupted(); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return interrupted();
}

TEST_P(Interrupt, TheFirstSignalIsAQuestion) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    if (interrupted()) return 1;
    stop_if_interrupted();
    ::kill(::getpid(), GetParam());
    if (!wait_for_interrupt()) return 2;
    const auto error = error_of(stop_if_interrupted);
    return error ? static_cast<int>(error->exit()) : 3;
  }));
  EXPECT_EQ(code, 130);
}

TEST_P(Interrupt, TheSecondSignalEndsTheProcess) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    for (int tries = 0; tries < 100; ++tries) {
      ::kill(::getpid(), GetParam());
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return 1;
  }));
  EXPECT_EQ(code, -GetParam());
}

TEST_P(Interrupt, TwoAtOnceAreOne) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    ::kill(::getpid(), GetParam());
    if (!wait_for_interrupt()) return 2;
    ::kill(::getpid(), GetParam());
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    return 0;
  }));
  EXPECT_EQ(code, 0);
}

TEST_P(Interrupt, NoThreadThatComputesTakesIt) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    int open = 0;
#pragma omp parallel num_threads(4) reduction(+ : open)
    {
      sigset_t blocked;
      pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
      open += sigismember(&blocked, GetParam()) == 1 ? 0 : 1;
    }
    return open;
  }));
  EXPECT_EQ(code, 0);
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, ::testing::Values(SIGINT, SIGTERM));

}  // namespace
}  // namespace kvpareto
