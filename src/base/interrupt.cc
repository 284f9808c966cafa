#include "base/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace kvpareto {
namespace {
volatile std::sig_atomic_t signalled = 0;

void remember(int signal) {
  signalled = 1;
  std::signal(signal, SIG_DFL);
}
}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
}

bool interrupted() { return signalled != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Error(Exit::kInterrupted, "interrupted; everything measured so far is kept");
}

}  // namespace kvpareto
