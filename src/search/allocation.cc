#include "search/allocation.h"

#include <algorithm>
#include <limits>

namespace kvpareto {
namespace {

// A sum over the axes so far, and how it was reached.
struct Sum {
  double bytes, loss;
  int from;  // index into the sums of the axis before
  int choice;
};

// Cheapest first, each losing less than all before it, at most one a cell.
std::vector<Sum> thinned(std::vector<Sum> sums, double cell) {
  std::sort(sums.begin(), sums.end(),
            [](const Sum& a, const Sum& b) { return a.bytes != b.bytes ? a.bytes < b.bytes : a.loss < b.loss; });
  std::vector<Sum> kept;
  for (const Sum& sum : sums) {
    if (!kept.empty() && sum.loss >= kept.back().loss) continue;
    const bool same_cell = kept.size() > 1 && sum.bytes - kept[kept.size() - 2].bytes < cell;
    if (same_cell) kept.pop_back();
    kept.push_back(sum);
  }
  return kept;
}

}  // namespace

std::vector<Choices> best_allocations(const std::vector<std::vector<Share>>& shares, size_t cells) {
  double range = 0;
  for (const auto& axis : shares) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const Share& share : axis) {
      low = std::min(low, share.bytes);
      high = std::max(high, share.bytes);
    }
    range += high - low;
  }
  const double cell = range / static_cast<double>(std::max<size_t>(cells, 1));
  std::vector<std::vector<Sum>> steps = {{{0, 0, -1, -1}}};
  for (const auto& axis : shares) {
    std::vector<Sum> sums;
    const std::vector<Sum>& before = steps.back();
    for (size_t from = 0; from < before.size(); ++from) {
      for (size_t choice = 0; choice < axis.size(); ++choice) {
        sums.push_back({before[from].bytes + axis[choice].bytes, before[from].loss + axis[choice].loss,
                        static_cast<int>(from), static_cast<int>(choice)});
      }
    }
    steps.push_back(thinned(std::move(sums), cell));
  }
  std::vector<Choices> found;
  for (size_t last = 0; last < steps.back().size(); ++last) {
    Choices choices(shares.size());
    size_t at = last;
    for (size_t axis = shares.size(); axis > 0; --axis) {
      const Sum& sum = steps[axis][at];
      choices[axis - 1] = sum.choice;
      at = static_cast<size_t>(sum.from);
    }
    found.push_back(choices);
  }
  return found;
}

}  // namespace kvpareto
