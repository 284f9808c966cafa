#include "cli/command.h"

namespace kvpareto {

std::vector<std::unique_ptr<Command>> make_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_search());
  commands.push_back(make_front());
  commands.push_back(make_report());
  commands.push_back(make_space_command());
  commands.push_back(make_plan());
  commands.push_back(make_run());
  commands.push_back(make_eval());
  commands.push_back(make_sensitivity());
  commands.push_back(make_quantize());
  commands.push_back(make_bench());
  return commands;
}

}  // namespace kvpareto
