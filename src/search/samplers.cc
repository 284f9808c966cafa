#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "search/sampler.h"

namespace kvpareto {

// Defined in samplers/<name>.cc.
std::unique_ptr<Sampler> make_guided_sampler(const Space& space, const SearchSettings& settings);
std::unique_ptr<Sampler> make_grid_sampler(const Space& space, const SearchSettings& settings);
std::unique_ptr<Sampler> make_random_sampler(const Space& space, const SearchSettings& settings);
std::unique_ptr<Sampler> make_nsga2_sampler(const Space& space, const SearchSettings& settings);
std::unique_ptr<Sampler> make_halving_sampler(const Space& space, const SearchSettings& settings);

namespace {
struct Entry {
  std::string name;
  std::unique_ptr<Sampler> (*make)(const Space& space, const SearchSettings& settings);
};

// The list of samplers.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> list = {
      {"guided", make_guided_sampler}, {"grid", make_grid_sampler},       {"random", make_random_sampler},
      {"nsga2", make_nsga2_sampler},   {"halving", make_halving_sampler},
  };
  return list;
}
}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.push_back(entry.name);
  return names;
}

std::unique_ptr<Sampler> make_sampler(const std::string& name, const Space& space, const SearchSettings& settings) {
  const auto& list = entries();
  const auto found = std::find_if(list.begin(), list.end(), [&](const Entry& entry) { return entry.name == name; });
  if (found == list.end()) {
    const auto names = sampler_names();
    fail_usage("sampler '{}': wanted one of {}; the nearest is {}", name, join(names, ", "), nearest(name, names));
  }
  check_space(space);
  return found->make(space, settings);
}

double cost_of(int texts, const SearchSettings& settings) {
  return texts == kShortened ? settings.short_cost : static_cast<double>(texts) / settings.texts;
}

Measured::Measured(std::span<const Measurement> measurements) {
  for (const Measurement& m : measurements) {
    const Measurement*& most = most_[to_text(m.point)];
    if (most == nullptr || most->regime.texts < m.regime.texts) most = &m;
  }
}

const Measurement* Measured::find(const Point& point, int texts) const {
  const auto found = most_.find(to_text(point));
  return found == most_.end() || found->second->regime.texts < texts ? nullptr : found->second;
}

std::vector<Trial> Ledger::take(const std::vector<Trial>& wanted, const Measured& measured) {
  std::vector<Trial> taken;
  for (const Trial& trial : wanted) {
    int& most = proposed_.try_emplace(to_text(trial.point), -1).first->second;
    if (most >= trial.texts || measured.find(trial.point, trial.texts) != nullptr) continue;
    most = trial.texts;
    taken.push_back(trial);
  }
  return taken;
}

}  // namespace kvpareto
