#pragma once
// One decoder layer as plain numbers, and what AWQ's scales may move between its parts.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "quant/weight_scheme.h"

namespace kvpareto {

// The linears of a layer, in the order in which data meets them.
enum class Part : uint8_t { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown };
inline constexpr size_t kParts = 7;
struct PartInfo {
  std::string_view name;  // of its tensors behind "blk.N.": "attn_q"
  LinearKind kind;
};
inline constexpr std::array<PartInfo, kParts> kPartInfos = {{{"attn_q", LinearKind::kQkv},
                                                             {"attn_k", LinearKind::kQkv},
                                                             {"attn_v", LinearKind::kQkv},
                                                             {"attn_output", LinearKind::kOutput},
                                                             {"ffn_gate", LinearKind::kGateUp},
                                                             {"ffn_up", LinearKind::kGateUp},
                                                             {"ffn_down", LinearKind::kDown}}};

struct Matrix {
  int64_t columns = 0;
  std::vector<float> weights;  // [rows, columns]
  std::vector<float> bias;     // [rows], or empty
  int64_t rows() const { return static_cast<int64_t>(weights.size()) / columns; }
};

struct LayerMatrices {
  std::vector<float> attention_norm, feed_forward_norm;  // [hidden]
  std::vector<float> query_norm, key_norm;               // [head_dim]; empty where the family has none
  std::array<Matrix, kParts> parts;

  Matrix& at(Part part) { return parts[static_cast<size_t>(part)]; }
  const Matrix& at(Part part) const { return parts[static_cast<size_t>(part)]; }
};

// f32, rows in half-split order (model.h).
LayerMatrices read_layer(const Checkpoint& checkpoint, const ModelShape& shape, int layer);
// The same as a backend multiplies by it, in bf16.
LayerWeights make_layer(const LayerMatrices& matrices, Backend& backend);

// Divides what makes the input of the linears of a kind by `scales` [their columns] and multiplies their columns: the
// norm before qkv and before gate and up; the rows of v before o; the rows of up before down (SwiGLU is linear in up).
// The layer computes what it did, but for rounding.
void fold_scales(LayerMatrices& layer, LinearKind kind, std::span<const float> scales, const ModelShape& shape);

// The rows that fold_scales() divides, and by what: v's before o, up's before down; empty scales where it is a norm.
struct RowScales {
  Part part = Part::kQuery;
  std::vector<float> scales;  // [rows]
};
RowScales folded_rows(LinearKind kind, std::span<const float> scales, const ModelShape& shape);

// Query heads that share a value head get its channels' output: scales of o are their geometric mean, so that they can
// be folded into v. Nothing for the other kinds. `logs` are logarithms of scales, [columns].
void tie_shared_channels(LinearKind kind, const ModelShape& shape, std::span<float> logs);

}  // namespace kvpareto
