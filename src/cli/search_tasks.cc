#include "cli/search_tasks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kvpareto {
namespace {

const std::vector<std::string> kRetrieval = {"needle", "needle_multikey"};

}  // namespace

ChosenTasks choose_tasks(const std::vector<std::string>& named, const std::vector<Screened>& screening) {
  std::vector<std::string> wanted = named;
  if (wanted.empty()) {
    for (const Screened& screened : screening) wanted.push_back(screened.task);
  }
  if (wanted.empty()) wanted = kRetrieval;
  ChosenTasks chosen;
  std::vector<std::string> usable, untried, left_out;
  for (const std::string& task : wanted) {
    const auto found =
        std::find_if(screening.begin(), screening.end(), [&](const Screened& s) { return s.task == task; });
    if (found != screening.end() && found->standing != Standing::kUsable) {
      left_out.push_back(fmt::format("{} ({})", task, to_text(found->standing)));
      continue;
    }
    (found == screening.end() ? untried : usable).push_back(task);
    chosen.tasks.push_back(task);
  }
  std::vector<std::string> parts;
  if (!usable.empty()) parts.push_back(join(usable, ", ") + ": the model can do them, as its screening found");
  if (!untried.empty()) {
    parts.push_back(join(untried, ", ") + ": not screened ('kvpareto eval --screen' with the same --study tells what " +
                    "the model can do)");
  }
  if (!left_out.empty()) parts.push_back("left out by the screening: " + join(left_out, ", "));
  chosen.note = "tasks: " + join(parts, "; ");
  return chosen;
}

}  // namespace kvpareto
