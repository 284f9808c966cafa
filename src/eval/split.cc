#include "eval/split.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace kvpareto {
namespace {

constexpr uint64_t kSearchPart = 50, kVerificationPart = 90;  // of a hundred, then calibration

}  // namespace

std::vector<std::string> split_names() { return {"all", "search", "verification", "calibration"}; }

Split parse_split(std::string_view name) {
  const std::vector<std::string> names = split_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    fail_usage("wanted one of {} as the split, found '{}'; did you mean {}?", join(names, ", "), name,
               nearest(name, names));
  }
  return static_cast<Split>(found - names.begin());
}

bool belongs(std::string_view key, Split split) {
  if (split == Split::kAll) return true;
  const uint64_t place = hash_text(key) % 100;
  if (place < kSearchPart) return split == Split::kSearch;
  return split == (place < kVerificationPart ? Split::kVerification : Split::kCalibration);
}

std::vector<size_t> choose_samples(std::span<const std::string> keys, Split split, uint64_t seed, int limit) {
  std::vector<std::pair<uint64_t, size_t>> order;
  for (size_t i = 0; i < keys.size(); ++i) {
    // Another hash than the split's, or a split would hold neighbours of the order.
    if (belongs(keys[i], split)) order.emplace_back(hash_text(keys[i], seed + 0x5eed), i);
  }
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), static_cast<size_t>(std::max(0, limit))));
  std::vector<size_t> chosen;
  for (const auto& [hash, i] : order) chosen.push_back(i);
  return chosen;
}

}  // namespace kvpareto
