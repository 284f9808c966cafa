#pragma once
// The decoder: numbers and weights of one architecture on one backend; immutable once loaded.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "kv/cache.h"
#include "model/shape.h"
#include "model/weight_plan.h"
#include "text/tokenizer.h"

namespace kvpareto {

struct LayerWeights {
  Buffer attention_norm, feed_forward_norm;  // f32 [hidden]
  Buffer query_norm, key_norm;               // f32 [head_dim]; without bytes where the family has none
  std::unique_ptr<Linear> qkv;               // [qkv_rows, hidden]: queries, keys, values one after another
  std::unique_ptr<Linear> output;            // [hidden, heads * head_dim]
  std::unique_ptr<Linear> gate_up;           // [2 * feed_forward, hidden]: gate first
  std::unique_ptr<Linear> down;              // [hidden, feed_forward]
  std::vector<float> key_bias, value_bias;   // f32 [kv_heads * head_dim], as in qkv; empty where the family has none
};

struct Model {
  Backend* backend = nullptr;
  ModelShape shape;
  std::string file;       // name without folders
  std::string stored_as;  // "Q4_1, Q8_0, F32": what the file held
  uint64_t fingerprint = 0;
  WeightPlan weights;                   // how each matrix is held
  std::unique_ptr<Linear> head;         // [vocabulary, hidden]; the embedding too if tied
  std::optional<StoredRows> embedding;  // [vocabulary, hidden], in the file; none if tied
  Buffer final_norm;                    // f32 [hidden]
  std::vector<LayerWeights> layers;

  size_t bytes() const;  // as allocated
};

// Biases of every layer's keys and values for a cache that takes them off; empty where the family has none.
std::vector<KvBias> kv_biases(const Model& model);

// Called with the fraction loaded, 0 to 1.
using LoadProgress = std::function<void(double)>;

// Weights become what the scheme says (bf16 by default), a matrix at a time; the file's pages are released as they are
// read. An embedding that is not the head is read by rows as tokens come. Throws as plan_weights().
Model load_model(const Checkpoint& checkpoint, Backend& backend, const WeightScheme& scheme = {},
                 const LoadProgress& progress = {});
// The output head alone, in bf16: what makes logits of hidden states, and no more.
Model load_head(const Checkpoint& checkpoint, Backend& backend);

// One tensor in f32 as the model uses it: rows of queries and keys in half-split order.
std::vector<float> read_tensor(const Checkpoint& checkpoint, const ModelShape& shape, const std::string& name);

Tokenizer load_tokenizer(const Checkpoint& checkpoint);

// Working memory of one step. Views into one scratch buffer; made by plan_workspace.
struct Workspace {
  Tensor residual;  // f32 [tokens, hidden]
  Tensor normed;    // activation [tokens, hidden]
  Tensor qkv;       // f32 [tokens, qkv_rows]
  Tensor attended;  // activation [tokens, heads * head_dim]
  Tensor gated;     // activation [tokens, feed_forward]; shares its bytes with attended
  Tensor turns;     // f32 [tokens, 2, head_dim / 2]: cosines, sines
  Tensor scratch;   // bytes of linear() and attend()
  Tensor beside;    // bytes of gated(): scratch and those of qkv, which is done by then
};
// For steps of up to `tokens` against up to `context`; the operations need no more than scratch.
size_t workspace_bytes(const ModelShape& shape, const WeightPlan& weights, const Backend& backend, int tokens,
                       int context);
Workspace plan_workspace(const Model& model, int tokens, int context, void* bytes);

// Neighbouring rows of a step that continue one sequence.
struct Stretch {
  KvCache* cache;
  int64_t tokens;
};

// One step of the decoder over `tokens`, stretch by stretch, which are appended to their caches. Leaves the residual
// stream, before the final norm, in workspace.residual.
void decode_step(const Model& model, std::span<const int32_t> tokens, std::span<const Stretch> stretches,
                 const Workspace& workspace);

// The same layer by layer: cosines and sines of the new positions into workspace.turns, then workspace.residual (all of
// its rows) through one layer after another. `watch` sees the input of each product, an activation [tokens, columns],
// before it is made; false ends the layer there.
using InputWatcher = std::function<bool(LinearKind, Tensor)>;
void fill_positions(const Model& model, std::span<const Stretch> stretches, const Workspace& workspace);
void decode_layer(const Model& model, int layer, std::span<const Stretch> stretches, const Workspace& workspace,
                  const InputWatcher& watch = {});

// Rows [begin, begin + rows) of the residual after the final norm: a view of workspace.normed, activation [rows,
// hidden].
Tensor final_hidden(const Model& model, const Workspace& workspace, int64_t begin, int64_t rows);
// logits f32 [rows, vocabulary] of hidden states as final_hidden() gives them.
void compute_logits(const Model& model, Tensor hidden, const Workspace& workspace, Tensor logits);
// The token with the largest of them, for one row of hidden states (Backend::best_row()); `space` is f32 [1,
// vocabulary].
int32_t best_token(const Model& model, Tensor hidden, const Workspace& workspace, Tensor space);

}  // namespace kvpareto
