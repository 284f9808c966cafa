#include "kv/scheme.h"

#include <algorithm>

#include "backend/packed_side.h"
#include "base/error.h"

namespace kvpareto {
namespace {

std::string group_problem(const SideScheme& side, int head_dim) {
  if (!has_scale(side.codec) || side.group == kWholeHead || side.group == 1 || head_dim % side.group == 0) return {};
  int valid = side.group;
  while (head_dim % valid != 0) valid -= kGroupMultiple;
  return fmt::format("a group of {} channels does not divide the head size {}; the nearest that does is {}", side.group,
                     head_dim, valid);
}

std::string side_problem(const SideScheme& side, bool keys, int head_dim, bool biased) {
  const std::string wrong_group = group_problem(side, head_dim);
  if (!wrong_group.empty()) return wrong_group;
  if (side.before_rope && !keys) return "values are not turned by RoPE, so '.pre' is for keys alone; leave it out";
  if (side.offset == Offset::kBias && !biased) {
    return "this model's keys and values have no bias to take off; the nearest choice is '.mean'";
  }
  // After RoPE the bias is another vector at every position.
  if (side.offset == Offset::kBias && keys && !side.before_rope) {
    return "the bias of keys is one vector only before RoPE; write '.pre.bias'";
  }
  if (side.fit == Fit::kSquares && (side.span == kWholeLayer || (side.span > 1 && side.group != 1))) {
    return "'.fit' is for groups of one token (g) or one channel (t); leave it out";
  }
  return {};
}

}  // namespace

bool SideScheme::operator==(const SideScheme& other) const {
  if (codec != other.codec || offset != other.offset || rotated != other.rotated || before_rope != other.before_rope) {
    return false;
  }
  return !has_scale(codec) || (group == other.group && span == other.span && fit == other.fit);
}

void KvScheme::change(int layer, const LayerScheme& to) {
  if (to == base_) {
    changed_.erase(layer);
  } else {
    changed_[layer] = to;
  }
}

std::string why_invalid(const KvScheme& scheme, int layers, int head_dim, bool biased) {
  if (head_dim % kGroupMultiple != 0) return fmt::format("head size {} is not a multiple of {}", head_dim, kGroupMultiple);
  if (head_dim > kLargestHead) return fmt::format("head size {} is larger than {}", head_dim, kLargestHead);
  if (!scheme.changed().empty() && scheme.changed().rbegin()->first >= layers) {
    return fmt::format("layer {} is beyond the model's last, {}", scheme.changed().rbegin()->first, layers - 1);
  }
  const auto problem_of = [&](const LayerScheme& layer) {
    const std::string keys = side_problem(layer.keys, true, head_dim, biased);
    return keys.empty() ? side_problem(layer.values, false, head_dim, biased) : keys;
  };
  std::string problem = problem_of(scheme.base());
  for (const auto& [layer, sides] : scheme.changed()) {
    if (problem.empty()) problem = problem_of(sides);
  }
  return problem;
}

}  // namespace kvpareto
