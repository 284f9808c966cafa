#pragma once
// Proposes what to measure next. To add one: a file in samplers/ and a line in the list of samplers.cc; the contract
// test (valid points, repeatable under a seed, nothing proposed twice) finds it there.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "search/space.h"
#include "study/measurement.h"
#include "study/point.h"

namespace kvpareto {

// Instead of a number of texts: on texts cut short, cheaper than the first text whole.
inline constexpr int kShortened = 0;

// A point and how many of the search's texts it is to be measured on: the first so many.
struct Trial {
  Point point;
  int texts = 1;
  bool operator==(const Trial&) const = default;
};

struct SearchSettings {
  int texts = 1;          // of a whole measurement
  uint64_t seed = 1;      // of whatever is drawn
  double budget = 0;      // whole measurements (a trial on one of four texts is a quarter); 0: till nothing is gained
  double short_cost = 0;  // whole measurements that one on shortened texts takes; 0: there are none
  std::vector<Measurement> elsewhere = {};  // of the same model in other regimes
  double most_bytes = 0;  // the best within so many is asked for, not the whole front alike; 0: it is not
};

// What a trial on so many texts takes, in whole measurements. One on more texts later pays for the further ones alone.
double cost_of(int texts, const SearchSettings& settings);

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual std::string name() const = 0;
  // The next trials given everything measured so far (Regime::texts says on how much, kShortened too), none of which is
  // proposed again,
  // done or failed; empty when done. The caller measures them all before it asks again.
  virtual std::vector<Trial> propose(std::span<const Measurement> measured) = 0;
  // Trials of the whole search as far as is known, those measured before this sampler began included.
  virtual size_t expected() const = 0;
};

// "guided" (the default of a search), "grid", "random", "nsga2", "halving": each explained in its file.
std::vector<std::string> sampler_names();
// Throws Error (kUsage): no such sampler (with the nearest name), an impossible space (check_space), or one that is too
// large to be walked through.
std::unique_ptr<Sampler> make_sampler(const std::string& name, const Space& space, const SearchSettings& settings);

// Measurements by point and texts; a measurement on more texts answers for fewer.
class Measured {
 public:
  explicit Measured(std::span<const Measurement> measurements);
  // Null if there is none on at least so many texts; the one on most of them.
  const Measurement* find(const Point& point, int texts) const;

 private:
  std::map<std::string, const Measurement*> most_;  // by point
};

// Which trials were proposed: never twice, even if the caller gave up on one without a record.
class Ledger {
 public:
  // Of `wanted` those that are neither measured nor proposed, which they are from now on.
  std::vector<Trial> take(const std::vector<Trial>& wanted, const Measured& measured);

 private:
  std::map<std::string, int> proposed_;  // most texts, by point
};

}  // namespace kvpareto
