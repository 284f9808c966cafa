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
  // The next points to measure given everything measured so far, none of which is proposed again; empty when done.
  virtual std::vector<Point> propose(std::span<const Measurement> measured) = 0;
  // How many points will be proposed in all, as far as is known.
  virtual size_t expected() const = 0;
};

// "grid": the schemes at the first chunk in the order given, then the other chunks for the schemes on the front.
std::vector<std::string> sampler_names();
// Throws Error (kUsage) with the nearest name.
std::unique_ptr<Sampler> make_sampler(const std::string& name, const Space& space, uint64_t seed);

}  // namespace kvpareto
