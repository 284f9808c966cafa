#pragma once
// Which matrices a model has and how each is held: a scheme of weights applied to a file's metadata, before anything is
// read. The loader makes what the plan says, and the memory model asks the same plan.

#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "model/shape.h"
#include "quant/weight_scheme.h"

namespace kvpareto {

struct PlannedLinear {
  LinearSpec spec;
  std::vector<std::vector<std::string>> tensors;  // of each part, one below the other; names without ".weight"
};

struct PlannedLayer {
  PlannedLinear qkv, output, gate_up, down;  // as in LayerWeights
};

struct WeightPlan {
  WeightScheme scheme;
  PlannedLinear head;                  // the embedding too if tied
  std::optional<RowsPlace> embedding;  // one that is not the head stays in the file
  std::vector<PlannedLayer> layers;
  std::vector<std::string> notes;  // where the scheme could not be had to the letter, a line each

  std::vector<LinearSpec> distinct() const;  // every spec once
};

// A group that does not divide a matrix's columns becomes the largest of 128, 64 and 32 that does, which is noted.
// Tensors that the file holds as codes of the wanted format are taken as they are. Throws Error (kUsage): columns that
// are no multiple of 32, a layer beyond the last, a stored format that has no product here, an embedding in codes of
// this program's own kind that is not the head.
WeightPlan plan_weights(const Checkpoint& checkpoint, const ModelShape& shape, const WeightScheme& scheme = {});

// Bytes that load_model will allocate.
size_t weights_bytes(const ModelShape& shape, const WeightPlan& plan, const Backend& backend);

}  // namespace kvpareto
