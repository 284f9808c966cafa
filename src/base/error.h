#pragma once
// Failures that a user can cause. Thrown where bad input enters (files, options, points), caught once in cli/main.cc.
// A message is one line: what was wanted, what was found, where, and the nearest valid choice.

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace kvpareto {

// Exit codes of the program; documented in the README.
enum class Exit {
  kOk = 0,
  kFailure = 1,       // a file, model or study could not be read or written, or is not supported
  kUsage = 2,         // an option or its value is wrong
  kNoMemory = 3,      // the configuration does not fit the memory there is
  kInterrupted = 130  // Ctrl-C or SIGTERM; what was measured is kept
};

class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Exit::kFailure, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Exit::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace kvpareto
