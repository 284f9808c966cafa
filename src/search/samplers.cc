#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "search/sampler.h"

namespace kvpareto {

// Defined in samplers/<name>.cc.
std::unique_ptr<Sampler> make_grid_sampler(const Space& space, uint64_t seed);

namespace {
struct Entry {
  std::string name;
  std::unique_ptr<Sampler> (*make)(const Space& space, uint64_t seed);
};

// The list of samplers.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> list = {
      {"grid", make_grid_sampler},
  };
  return list;
}

void require_points(const Space& space) {
  if (space.weights.empty()) fail_usage("search space: wanted at least one precision of the weights, found none");
  if (space.kv.empty()) fail_usage("search space: wanted at least one KV scheme, found none");
  if (space.chunks.empty()) fail_usage("search space: wanted at least one prefill chunk, found none");
  for (const int chunk : space.chunks) {
    if (chunk < 1) fail_usage("search space: wanted prefill chunks of at least 1 token, found {}", chunk);
  }
  for (const std::string& weights : space.weights) {
    for (const std::string& kv : space.kv) {
      const Point point{weights, kv, space.chunks.front()};
      if (parse_point(to_text(point)) != point) {
        fail_usage("search space: wanted weights and KV schemes that make a point, found '{}' and '{}'", weights, kv);
      }
    }
  }
}
}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.push_back(entry.name);
  return names;
}

std::unique_ptr<Sampler> make_sampler(const std::string& name, const Space& space, uint64_t seed) {
  const auto& list = entries();
  const auto found = std::find_if(list.begin(), list.end(), [&](const Entry& entry) { return entry.name == name; });
  if (found == list.end()) {
    const auto names = sampler_names();
    fail_usage("sampler '{}': wanted one of {}; the nearest is {}", name, join(names, ", "), nearest(name, names));
  }
  require_points(space);
  return found->make(space, seed);
}

}  // namespace kvpareto
