#pragma once
// What a search may propose on one model: the lists of a preset or of the user made into axes (search/space.h), with
// all that a sampler cannot know: which choices the model can hold, what a point takes, what its parts are.

#include <string>
#include <vector>

#include "backend/backend.h"
#include "cli/space_lists.h"
#include "model/weight_plan.h"
#include "search/space.h"

namespace kvpareto {

struct SpaceOptions {
  std::string name = "quick";        // a preset, or a TOML file
  std::vector<int> k_bits, v_bits;   // with `groups`, instead of the preset's schemes; empty: all
  std::vector<std::string> groups;   // channels, or "h" for the whole head; empty: 64, 32, 128
  std::vector<int> chunks;           // empty: the preset's
  std::vector<std::string> weights;  // canonical texts beside 16 bits; empty: the preset's
  double most_bytes = 0;             // predicted peak beyond which a point is not valid; 0: no limit
};

struct ModelSpace {
  Space space;
  std::vector<std::string> left_out;  // choices the model cannot hold, with the reason
};

// The baseline (16 bit, chunk 256) is in every space, and in those of combined sides the paper's pairs of bits per
// token too: they are measured first. Choices of a preset that the model cannot hold are left out; one that the user
// named throws Error (kUsage). Checkpoint and backend must outlive the space.
ModelSpace make_space(const SpaceOptions& options, const Checkpoint& checkpoint, const Backend& backend, int context);

}  // namespace kvpareto
