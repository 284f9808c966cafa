#pragma once
// Ctrl-C and SIGTERM as a question that loops ask between steps, so that what is finished is kept.

namespace kvpareto {

// From now on the first signal sets interrupted(); another one, half a second later or more, ends the process at once.
// Called before there are other threads: a thread of its own takes the signals, and all that are started later have
// them blocked. oneDNN's f32 kernels let the stack pointer run over a buffer of a few kilobytes, and the frame of a
// signal handler there would overwrite whatever lies below it on the heap.
void catch_interrupts();
bool interrupted();

// Throws Error (kInterrupted) if a signal came.
void stop_if_interrupted();

}  // namespace kvpareto
