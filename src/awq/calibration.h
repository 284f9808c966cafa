#pragma once
// Calibration tokens on their way through the layers of two models, the 16-bit one and the one that is being quantized,
// one layer at a time: both residual streams are all that is kept between two layers.

#include <array>
#include <cstdint>
#include <functional>
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

// Before qkv, gate and up; the other linears' products are added to the residual stream.
inline bool is_normed(LinearKind kind) { return kind == LinearKind::kQkv || kind == LinearKind::kGateUp; }

// What the linears of a kind see in the model that is quantized as far as they are.
//
// Tokens count 1 before qkv, gate and up, whose input is normalized; before o and down they count 1 / mean square of
// the residual stream that the product is added to, since that is what the next norm makes of an error. Without it the
// few tokens with massive activations (arXiv 2402.17762) would be all that counts.
struct Moments {
  SecondMoment inputs;
  // [hidden, columns], 16 bits less quantized: how far rounding has moved, up to here, what these linears can make up
  // for: their input before qkv, gate and up (arXiv 2504.02692), the residual stream behind o and down.
  CrossMoment drift;
};

class CalibrationRun {
 public:
  // Begins before layer 0 with the embeddings of the tokens. Throws Error (kUsage): no tokens, sequences of different
  // lengths or longer than the model's context, ids outside the vocabulary.
  CalibrationRun(const Checkpoint& checkpoint, Backend& backend, const ModelShape& shape,
                 const Calibration& calibration);
  ~CalibrationRun();

  // Two residual streams f32 [2, tokens, hidden], of the 16-bit and of the quantized model; to be kept and put back by
  // who resumes.
  std::span<float> states() { return states_; }

  // Takes the 16-bit stream through the next layer as it stands in the file.
  void begin_layer(const LayerMatrices& layer);
  // Of that layer, with all kinds before this one as they were quantized.
  Moments moments(LinearKind kind, const LayerMatrices& layer);
  // Takes the quantized stream through the layer as it was quantized.
  void end_layer(const LayerMatrices& layer);

 private:
  struct Space;
  struct Exact;
  using Work = std::function<void(const Model&, Space&, size_t first)>;
  // Batches of sequences, from the one numbered `first`.
  void for_batches(const LayerMatrices& layer, const Work& work);
  std::span<float> states_of(bool quantized, const Space& space, size_t first);
  void pass(const Model& model, Space& space, std::span<const float> states, const InputWatcher& watch);

  const Checkpoint& checkpoint_;
  Backend& backend_;
  ModelShape shape_;  // of one layer
  size_t sequences_;
  int64_t length_;
  std::vector<float> states_;  // [2, sequences, length, hidden]
  std::vector<Exact> exact_;   // of the layer under way, by batch
};

}  // namespace kvpareto
