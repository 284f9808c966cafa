#pragma once
// Calibration tokens on their way through the layers, one layer at a time: the residual stream of all tokens is all
// that is kept between two layers.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "awq/layer_matrices.h"
#include "awq/second_moment.h"

namespace kvpareto {

struct Calibration {
  std::vector<std::vector<int32_t>> sequences;  // of one length
  std::string origin;                           // "calib_prose_512.jsonl, 32 x 512 tokens"
  uint64_t hash() const;
};

// Of the inputs of each kind of linear. Tokens count 1 before qkv, gate and up, whose input is normalized; before o and
// down they count 1 / mean square of the residual stream that the product is added to, since that is what the next norm
// makes of an error. Without it the few tokens with massive activations (arXiv 2402.17762) would be all that counts.
struct LayerMoments {
  std::vector<SecondMoment> kinds;  // by LinearKind
  SecondMoment& at(LinearKind kind) { return kinds[static_cast<size_t>(kind)]; }
};

class CalibrationRun {
 public:
  // Begins before layer 0 with the embeddings of the tokens. Throws Error (kUsage): no tokens, sequences of different
  // lengths or longer than the model's context, ids outside the vocabulary.
  CalibrationRun(const Checkpoint& checkpoint, Backend& backend, const ModelShape& shape,
                 const Calibration& calibration);

  // The residual stream f32 [tokens, hidden], to be kept and put back by who resumes.
  std::span<float> states() { return states_; }
  // Takes the states through one layer as it stands in the file and gathers what its linears see.
  LayerMoments run(const LayerMatrices& layer);

 private:
  struct Space;
  void run_batch(const Model& model, Space& space, size_t begin, LayerMoments& moments);

  const Checkpoint& checkpoint_;
  Backend& backend_;
  ModelShape shape_;  // of one layer
  size_t sequences_;
  int64_t length_;
  std::vector<float> states_;
};

}  // namespace kvpareto
