#pragma once
// A subcommand. To add one: a file with a class and a function that makes it, declared here, and a line in the list of
// commands.cc. tests/cli_test.py checks its help without being asked.

#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"

namespace kvpareto {

// What the help says besides the options.
struct About {
  std::string name;
  std::string summary;                // a few words, for the list of commands
  std::string purpose;                // a paragraph: what it does, what it prints, when to use it
  std::vector<std::string> examples;  // without the program's name
};

class Command {
 public:
  virtual ~Command() = default;
  virtual About about() const = 0;
  virtual void declare(Options& options) = 0;
  // Results go to standard output, everything else to standard error. Throws Error.
  virtual void run() = 0;
};

std::unique_ptr<Command> make_search();
std::unique_ptr<Command> make_space_command();
std::unique_ptr<Command> make_plan();
std::unique_ptr<Command> make_run();
std::unique_ptr<Command> make_eval();
std::unique_ptr<Command> make_front();
std::unique_ptr<Command> make_report();
std::unique_ptr<Command> make_sensitivity();
std::unique_ptr<Command> make_quantize();
std::unique_ptr<Command> make_bench();

// In the order in which a newcomer meets them.
std::vector<std::unique_ptr<Command>> make_commands();

}  // namespace kvpareto
