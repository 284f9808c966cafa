#pragma once
// What a search may choose from, as data: axes with their choices. What the choices mean (schemes, bytes, what fits a
// model) is known to the caller, who hands in the functions; a sampler sees texts and numbers alone.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "study/point.h"

namespace kvpareto {

struct Axis {
  std::string name;                  // "weights", "keys of layer 7", "chunk"
  std::string part;                  // axes of one part are layers of the same thing: "keys"
  std::vector<std::string> choices;  // the most accurate one first, as far as is known
  // Hardly changes what is best: searches stay at the first choice and try the others on the best points alone.
  bool refined_last = false;
};

// The place of a choice on every axis.
using Choices = std::vector<int>;

// A share of a point's loss that adds to the others (docs/METHODS.md): one part of one layer and how it is stored.
struct Effect {
  std::string part;    // "keys", "values", "weights"
  int layer = 0;       // of weights: one kind of linear of one layer
  std::string choice;  // "int4t32.pre"
  std::string family;  // choices whose losses are spread over the layers alike: "t32.pre"
  double bits = 0;     // of a stored value, scales included
  int layers = 1;      // how many such layers the part has; 1: this is the effect on all of them together
  int kinds = 1;       // every so many layers one of the same kind comes again; those of a kind are alike
  bool operator==(const Effect&) const = default;
};

struct Description {
  std::vector<Effect> effects;      // parts at 16 bits lose nothing and have none
  std::vector<std::string> scales;  // what multiplies the loss of all: "recent128.sink4"
};

// A point, or why these choices make none.
struct Made {
  Point point;
  std::string reason;
  bool valid() const { return reason.empty(); }
};

struct Space {
  std::vector<Axis> axes;
  std::vector<Point> baselines;  // measured first and whole, by every sampler
  std::function<Made(const Choices&)> make;
  std::function<Description(const Point&)> describe;  // of any point, also outside the space
  std::function<double(const Point&)> bytes;          // predicted peak at the search's context
};

// Decimal logarithm of the number of choices, invalid ones included.
double log10_size(const Space& space);
// That number, kUncountable if it is larger.
inline constexpr size_t kUncountable = 1'000'000;
size_t countable_size(const Space& space);

// The index-th of all choices, the last axis changing fastest. For countable spaces.
Choices choices_at(const Space& space, size_t index);
Choices random_choices(const Space& space, Random& random);

// Throws Error (kUsage): no axis, an axis without choices, a name or a choice twice.
void check_space(const Space& space);

// Points of the space, each once, that differ from `point`'s choices in the axes that are refined last alone.
std::vector<Point> refinements(const Space& space, const Choices& choices);

}  // namespace kvpareto
