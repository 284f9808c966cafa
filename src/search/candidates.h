#pragma once
// Which points of a space are worth a thought: all of a small one; of a large one those that tell most about its parts,
// and the best allocations of bytes over its axes under what is known of them.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "search/allocation.h"
#include "search/quality.h"
#include "search/space.h"

namespace kvpareto {

struct Candidate {
  Point point;
  Choices choices;
  double bytes;
};

class Candidates {
 public:
  explicit Candidates(const Space& space);

  // Points that tell of one part each: for every choice of every part (and, of a large space, for every layer at its
  // fewest bits) the candidate in which that part has the largest share of the loss that `quality` guesses.
  std::vector<Point> screening(Quality& quality) const;

  // What may be measured next. `near`: choices whose neighbours are candidates too, where the space is large.
  std::vector<Candidate> all(Quality& quality, Random& random, const std::map<std::string, Choices>& near) const;

 private:
  bool add(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices) const;
  bool at_first_of_refined(const Choices& choices) const;
  std::string where_alone(const std::vector<Effect>& effects) const;
  std::vector<Candidate> singles() const;
  std::vector<int> fewest_bits(size_t axis) const;
  std::vector<Candidate> allocated(Quality& quality, Random& random, const std::map<std::string, Choices>& near) const;
  void add_neighbours(std::vector<Candidate>& list, std::set<std::string>& seen, const Choices& choices,
                      Random& random) const;
  std::vector<Choices> choices_of_scales() const;
  bool multiplies(size_t axis) const;
  std::vector<std::vector<Share>> shares(const Choices& scales, Quality& quality, Random* draw) const;

  const Space space_;
  bool walkable_;
  std::vector<Candidate> walked_;  // all of a small space, at the first choices of what is refined last
};

}  // namespace kvpareto
