#include "search/space.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace kvpareto {

double log10_size(const Space& space) {
  double sum = 0;
  for (const Axis& axis : space.axes) sum += std::log10(static_cast<double>(axis.choices.size()));
  return sum;
}

size_t countable_size(const Space& space) {
  size_t size = 1;
  for (const Axis& axis : space.axes) {
    size *= axis.choices.size();
    if (size >= kUncountable) return kUncountable;
  }
  return size;
}

Choices choices_at(const Space& space, size_t index) {
  Choices choices(space.axes.size());
  for (size_t axis = space.axes.size(); axis-- > 0;) {
    const size_t count = space.axes[axis].choices.size();
    choices[axis] = static_cast<int>(index % count);
    index /= count;
  }
  return choices;
}

Choices random_choices(const Space& space, Random& random) {
  Choices choices;
  for (const Axis& axis : space.axes) choices.push_back(static_cast<int>(random.below(axis.choices.size())));
  return choices;
}

void check_space(const Space& space) {
  if (space.axes.empty()) fail_usage("search space: wanted at least one axis, found none");
  std::set<std::string> names;
  for (const Axis& axis : space.axes) {
    if (!names.insert(axis.name).second) fail_usage("search space: wanted one axis '{}', found two", axis.name);
    if (axis.choices.empty()) fail_usage("search space, {}: wanted at least one choice, found none", axis.name);
    std::set<std::string> seen;
    for (const std::string& choice : axis.choices) {
      if (!seen.insert(choice).second) {
        fail_usage("search space, {}: wanted every choice once, found '{}' twice", axis.name, choice);
      }
    }
  }
}

std::vector<Point> refinements(const Space& space, const Choices& choices) {
  std::vector<Point> points;
  for (size_t axis = 0; axis < space.axes.size(); ++axis) {
    if (!space.axes[axis].refined_last) continue;
    for (size_t choice = 0; choice < space.axes[axis].choices.size(); ++choice) {
      Choices other = choices;
      other[axis] = static_cast<int>(choice);
      if (other == choices) continue;
      const Made made = space.make(other);
      if (made.valid()) points.push_back(made.point);
    }
  }
  return points;
}

}  // namespace kvpareto
