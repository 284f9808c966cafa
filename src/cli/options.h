#pragma once
// Options of a subcommand, declared in one way. options.cc alone knows CLI11, which parses them and lays out the help.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/values.h"

namespace kvpareto {

// What one subcommand takes. `names` are separated by commas, the long one last: "-ctk,--cache-type-k". The value that
// the variable holds when it is declared is the default, and the help shows it. Wrong values throw Error (kUsage).
class Options {
 public:
  // `app` is the CLI::App of the subcommand.
  explicit Options(void* app) : app_(app) {}

  // A line above the options that follow.
  void heading(const std::string& title) { heading_ = title; }

  void flag(const std::string& names, bool& value, const std::string& help);
  void text(const std::string& names, const std::string& what, std::string& value, const std::string& help);
  void integer(const std::string& names, int& value, Range range, const std::string& help);
  void seed(uint64_t& value);
  // A `value` below `low` says that none was given: help shows no default.
  void number(const std::string& names, double& value, double low, double high, const std::string& help);
  void integers(const std::string& names, std::vector<int>& values, Range range, const std::string& help);
  void list(const std::string& names, const std::string& what, std::vector<std::string>& values,
            const std::string& help);
  void choice(const std::string& names, std::string& value, const std::vector<std::string>& choices,
              const std::string& help);
  // Any other kind of value: `parse` stores it or throws.
  void parsed(const std::string& names, const std::string& what, const std::string& help,
              const std::function<void(const std::string&)>& parse);

  // The arguments with every option under its long name and its value behind '=': CLI11 knows no short names of several
  // letters (-ctk), takes a value such as -5 for an option, and has no nearest choice for an unknown one.
  std::vector<std::string> normalize(const std::string& command, const std::vector<std::string>& arguments) const;

  // The names of an option as the help shows them, by its long name.
  const std::string& spelling(const std::string& long_name) const { return spellings_.at(long_name); }

 private:
  struct Name {
    std::string long_name;
    bool takes_value;
  };
  std::string declare(const std::string& names, bool takes_value);

  void* app_;
  std::string heading_ = "Options";
  std::map<std::string, Name> names_;             // by every spelling, dashes included
  std::map<std::string, std::string> spellings_;  // by long name
};

class Command;

// The subcommand that the arguments (without the program's name) ask for, its options filled in; null if they asked for
// help or the version, which is in `answer` then. Throws Error (kUsage).
Command* parse_command_line(const std::vector<std::unique_ptr<Command>>& commands,
                            const std::vector<std::string>& arguments, std::string& answer);

}  // namespace kvpareto
