#pragma once
// Proposes the points to measure next. To add one: a file in samplers/ and a line in the list of samplers.cc; the
// contract test (valid points, repeatable under a seed, nothing proposed twice) finds it there.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "study/measurement.h"
#include "study/point.h"

namespace kvpareto {

// The choices along each axis. Schemes are made by the caller (which knows the KV grammar), already valid for the
// model.
struct Space {
  std::vector<std::string> weights = {"w16"};
  std::vector<std::string> kv;
  std::vector<int> chunks = {256};
  size_t size() const { return weights.size() * kv.size() * chunks.size(); }
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual std::string name() const = 0;
  // The next points to measure given everything measured so far, none of which is proposed again, done or failed; empty
  // when done. The caller measures them all before it asks again. Measurements of points outside the space are ignored.
  virtual std::vector<Point> propose(std::span<const Measurement> measured) = 0;
  // Points of the whole search as far as is known, those measured before this sampler began included.
  virtual size_t expected() const = 0;
};

// "grid": the schemes at the first chunk in the order given, then the other chunks for the schemes on the front.
std::vector<std::string> sampler_names();
// Throws Error (kUsage): no such sampler (with the nearest name), or a space without points or with impossible ones.
std::unique_ptr<Sampler> make_sampler(const std::string& name, const Space& space, uint64_t seed);

}  // namespace kvpareto
