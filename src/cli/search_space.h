#pragma once
// What a search may propose: the schemes and chunks of a preset or of the user's lists, valid for the model, in the
// order in which they tell most.

#include <string>
#include <vector>

#include "model/shape.h"
#include "search/sampler.h"

namespace kvpareto {

struct SpaceOptions {
  std::string preset = "grid";      // one of preset_names()
  std::vector<int> k_bits, v_bits;  // empty: what the preset has
  std::vector<std::string> groups;  // channels, or "h" for the whole head
  std::vector<int> chunks;
};

std::vector<std::string> preset_names();

// The baseline (16 bit, chunk 256) comes first, whatever was asked for. Schemes of a preset that the model's heads
// cannot hold are left out; a group that the user named and that no head can hold throws Error (kUsage).
Space make_space(const SpaceOptions& options, const ModelShape& shape);

}  // namespace kvpareto
