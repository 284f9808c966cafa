#include "eval/task.h"
#include "eval/tasks/needle.h"

namespace kvpareto {

std::span<const Task> tasks() {
  static const std::vector<Task> list = {
      {"needle", "one number hidden in a long text, asked for by its name", make_needle, mark_needle},
      {"needle_multikey", "four numbers of different names hidden in a long text, one of them asked for",
       make_needle_multikey, mark_needle},
  };
  return list;
}

}  // namespace kvpareto
