#pragma once
// Ctrl-C and SIGTERM as a question that loops ask between steps, so that what is finished is kept.

namespace kvpareto {

// From now on the first signal sets interrupted(); a second one ends the process at once.
void catch_interrupts();
bool interrupted();

// Throws Error (kInterrupted) if a signal came.
void stop_if_interrupted();

}  // namespace kvpareto
