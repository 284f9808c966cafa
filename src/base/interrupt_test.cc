#include "base/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>

#include "base/testing.h"

namespace kvpareto {
namespace {

// Signals belong to a whole process, so each of these has one of its own.
class Interrupt : public ::testing::TestWithParam<int> {};

TEST_P(Interrupt, TheFirstSignalIsAQuestion) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    if (interrupted()) return 1;
    stop_if_interrupted();
    std::raise(GetParam());
    if (!interrupted()) return 2;
    const auto error = error_of(stop_if_interrupted);
    return error ? static_cast<int>(error->exit()) : 3;
  }));
  EXPECT_EQ(code, 130);
}

TEST_P(Interrupt, TheSecondSignalEndsTheProcess) {
  const int code = wait_for_child(start_child([] {
    catch_interrupts();
    std::raise(GetParam());
    std::raise(GetParam());
    return 1;
  }));
  EXPECT_EQ(code, -GetParam());
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, ::testing::Values(SIGINT, SIGTERM));

}  // namespace
}  // namespace kvpareto
