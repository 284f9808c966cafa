#pragma once
// Which tasks a search puts to its best points: those that the model can do.

#include <string>
#include <vector>

#include "study/screening.h"

namespace kvpareto {

struct ChosenTasks {
  std::vector<std::string> tasks;
  std::string note;  // a line that says why these
};

// Of the `named` tasks, else of the screened ones, those that the screening found usable; named ones that it has not
// tried are taken as they are. Where nothing is named or screened: the retrieval tasks, which small models can do.
ChosenTasks choose_tasks(const std::vector<std::string>& named, const std::vector<Screened>& screening);

}  // namespace kvpareto
