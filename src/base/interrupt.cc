#include "base/interrupt.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/error.h"

namespace kvpareto {
namespace {
std::atomic<bool> signalled = false;

// Programs such as timeout send theirs to a process and to its group: two of them, for one wish.
constexpr auto kOneWish = std::chrono::milliseconds(500);

// Takes the first signal as a question, and dies of the second as if nothing had caught it.
void wait_for_signals(sigset_t signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  signalled = true;
  std::this_thread::sleep_for(kOneWish);
  constexpr timespec kAtOnce = {0, 0};
  while (sigtimedwait(&signals, nullptr, &kAtOnce) > 0) {
  }
  sigwait(&signals, &signal);
  std::signal(signal, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  std::raise(signal);
}
}  // namespace

void catch_interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(wait_for_signals, signals).detach();
}

bool interrupted() { return signalled; }

void stop_if_interrupted() {
  if (interrupted()) throw Error(Exit::kInterrupted, "interrupted; everything measured so far is kept");
}

}  // namespace kvpareto
