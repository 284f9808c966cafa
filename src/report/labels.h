#pragma once
// Where the names of points go so that nothing is written over anything else.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "report/svg.h"

namespace kvpareto {

struct Label {
  double x = 0, y = 0;  // of the point it names, pixels
  std::string text;
  double size = 12;       // of the font, pixels
  bool required = false;  // if no near place is free, a farther one with a leader is taken
};

struct Placement {
  double x, y;  // where the text begins, on its baseline
  Box box;      // what it covers
  bool leader;  // far enough from its point that a thin line should join them
};

// Places labels in the order given, most important first. A label that is not required and finds no free place is left
// out. `points` may be touched by no label, `lines` (such as the front itself) only if nothing else is left.
std::vector<std::optional<Placement>> place_labels(std::span<const Label> labels, std::span<const Box> points,
                                                   std::span<const Box> lines, const Box& bounds);

}  // namespace kvpareto
