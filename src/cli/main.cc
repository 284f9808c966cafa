// The program: one subcommand, one place where errors end.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/command.h"
#include "cli/output.h"

namespace kvpareto {
namespace {

Exit run(const std::vector<std::string>& arguments) {
  const auto commands = make_commands();
  std::string answer;
  Command* command = parse_command_line(commands, arguments, answer);
  print_result(answer);
  if (command != nullptr) command->run();
  return Exit::kOk;
}

// A message is one line, whatever a library put into it.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

Exit run_and_report(const std::vector<std::string>& arguments) {
  try {
    return run(arguments);
  } catch (const Error& error) {
    if (error.what()[0] != '\0') note("{}", one_line(error.what()));
    return error.exit();
  } catch (const std::bad_alloc&) {
    note("not enough memory; a shorter context (-c), fewer bits (-ctk, -ctv) or a smaller chunk (-ub) takes less");
    return Exit::kNoMemory;
  } catch (const std::exception& error) {
    note("internal error, please report it: {}", one_line(error.what()));
    return Exit::kFailure;
  }
}

}  // namespace
}  // namespace kvpareto

// A thread that waits at the end of a parallel loop spins, by default for milliseconds: on a machine that others use
// too it takes the core from the thread that it waits for (a decode step was 100 times slower beside one busy process).
// libgomp reads its settings before main, so the program starts itself once more with a bound of some 50 us.
void bound_spinning(char** arguments) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::error_code problem;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", problem);
  if (problem) return;
  ::setenv("GOMP_SPINCOUNT", "3000", 1);
  ::execv(program.c_str(), arguments);  // if it fails, the default will do
}

int main(int count, char** arguments) {
  bound_spinning(arguments);
  // Writing to a pipe that was closed is then an error like others.
  std::signal(SIGPIPE, SIG_IGN);
  // A file-size limit likewise.
  std::signal(SIGXFSZ, SIG_IGN);
  kvpareto::catch_interrupts();
  return static_cast<int>(kvpareto::run_and_report({arguments + 1, arguments + count}));
}
