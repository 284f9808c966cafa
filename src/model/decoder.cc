#include <algorithm>

#include "kv/rope.h"
#include "model/model.h"

namespace kvpareto {
namespace {

// x f32 [tokens, heads, head_dim] in place, every head for itself. The backend takes rows: the heads of a token or the
// tokens of a head, whichever makes fewer calls.
void normalize_heads(Backend& backend, Tensor x, const float* weight, float epsilon) {
  const int64_t heads = x.shape[1], d = x.shape[2];
  if (x.rows() < heads) {
    for (int64_t t = 0; t < x.rows(); ++t) {
      const Tensor rows = tensor(x.row<float>(t), heads, d);
      backend.rms_norm(rows, weight, epsilon, rows);
    }
    return;
  }
  for (int64_t h = 0; h < heads; ++h) {
    const Tensor rows = x.columns_as(h * d, 1, d);
    backend.rms_norm(rows, weight, epsilon, rows);
  }
}

void attention(const Model& model, int layer, std::span<const Stretch> stretches, const Workspace& work) {
  const ModelShape& shape = model.shape;
  const int64_t d = shape.head_dim;
  const Tensor queries = work.qkv.columns_as(0, shape.heads, d);
  const Tensor keys = work.qkv.columns_as(shape.heads * d, shape.kv_heads, d);
  if (shape.query_key_norm) {
    const LayerWeights& weights = model.layers[static_cast<size_t>(layer)];
    normalize_heads(*model.backend, queries, weights.query_norm.as<float>(), shape.norm_epsilon);
    normalize_heads(*model.backend, keys, weights.key_norm.as<float>(), shape.norm_epsilon);
  }
  model.backend->rope(queries, work.turns.as<float>());
  const Tensor values = work.qkv.columns_as((shape.heads + shape.kv_heads) * d, shape.kv_heads, d);
  int64_t row = 0;
  for (const Stretch& stretch : stretches) {
    stretch.cache->append(layer, keys.slice(row, stretch.tokens), values.slice(row, stretch.tokens),
                          work.turns.row<float>(row));
    stretch.cache->attend(layer, queries.slice(row, stretch.tokens),
                          work.attended.columns_as(0, shape.heads, d).slice(row, stretch.tokens), work.scratch);
    row += stretch.tokens;
  }
}

Workspace first_rows(const Workspace& work, int64_t rows) {
  Workspace part = work;
  for (Tensor Workspace::*member : {&Workspace::residual, &Workspace::normed, &Workspace::qkv, &Workspace::attended,
                                    &Workspace::gated, &Workspace::turns}) {
    part.*member = (work.*member).slice(0, rows);
  }
  return part;
}

struct Region {
  size_t offset, bytes;
};
struct Plan {
  Region residual, normed, narrow, turns, qkv, scratch, beside;
  size_t bytes;
};

Plan plan(const ModelShape& shape, const WeightPlan& weights, const Backend& backend, int tokens, int context) {
  const size_t activation = bytes_of(backend.activation());
  const int64_t attended = int64_t{shape.heads} * shape.head_dim;
  size_t scratch = backend.attend_scratch_bytes(tokens, context, shape.heads, shape.kv_heads, shape.head_dim);
  for (const LinearSpec& spec : weights.distinct()) {
    scratch = std::max(scratch, backend.linear_scratch_bytes(tokens, spec));
  }
  size_t gated = 0;
  for (const PlannedLayer& layer : weights.layers) {
    gated = std::max(gated, backend.gated_scratch_bytes(tokens, layer.gate_up.spec));
  }

  size_t end = 0;
  const auto place = [&](int64_t columns, size_t element) {
    const Region region{end, Backend::padded(static_cast<size_t>(tokens) * static_cast<size_t>(columns) * element)};
    end += region.bytes;
    return region;
  };
  Plan result{};
  result.residual = place(shape.hidden, sizeof(float));
  result.normed = place(shape.hidden, activation);
  result.narrow = place(std::max<int64_t>(attended, shape.feed_forward), activation);
  result.turns = place(shape.head_dim, sizeof(float));
  result.qkv = place(shape.qkv_rows(), sizeof(float));
  result.scratch = {end, Backend::padded(scratch)};
  result.bytes = std::max(end + result.scratch.bytes, result.qkv.offset + Backend::padded(gated));
  result.beside = {result.qkv.offset, result.bytes - result.qkv.offset};
  return result;
}

}  // namespace

size_t workspace_bytes(const ModelShape& shape, const WeightPlan& weights, const Backend& backend, int tokens,
                       int context) {
  return plan(shape, weights, backend, tokens, context).bytes;
}

Workspace plan_workspace(const Model& model, int tokens, int context, void* bytes) {
  const ModelShape& shape = model.shape;
  const Backend& backend = *model.backend;
  const Plan places = plan(shape, model.weights, backend, tokens, context);
  const DType activation = backend.activation();
  const auto view = [&](const Region& region, DType type, int64_t columns) {
    return tensor(static_cast<char*>(bytes) + region.offset, type, tokens, columns);
  };
  Workspace work;
  work.residual = view(places.residual, DType::kF32, shape.hidden);
  work.normed = view(places.normed, activation, shape.hidden);
  work.qkv = view(places.qkv, DType::kF32, shape.qkv_rows());
  work.attended = view(places.narrow, activation, int64_t{shape.heads} * shape.head_dim);
  work.gated = view(places.narrow, activation, shape.feed_forward);
  work.turns = view(places.turns, DType::kF32, shape.head_dim);
  const auto floats = [&](const Region& region) {
    return tensor(static_cast<char*>(bytes) + region.offset, DType::kF32,
                  static_cast<int64_t>(region.bytes / sizeof(float)));
  };
  work.scratch = floats(places.scratch);
  work.beside = floats(places.beside);
  return work;
}

void fill_positions(const Model& model, std::span<const Stretch> stretches, const Workspace& work) {
  int64_t row = 0;
  for (const Stretch& stretch : stretches) {
    fill_turns(model.shape.rope, model.shape.head_dim / 2, stretch.cache->tokens(), 1, stretch.tokens,
               work.turns.row<float>(row));
    row += stretch.tokens;
  }
}

void decode_layer(const Model& model, int layer, std::span<const Stretch> stretches, const Workspace& work,
                  const InputWatcher& watch) {
  Backend& backend = *model.backend;
  const LayerWeights& weights = model.layers[static_cast<size_t>(layer)];
  const float epsilon = model.shape.norm_epsilon;
  const auto ends_at = [&](LinearKind kind, Tensor input) { return watch && !watch(kind, input); };
  backend.rms_norm(work.residual, weights.attention_norm.as<float>(), epsilon, work.normed);
  if (ends_at(LinearKind::kQkv, work.normed)) return;
  backend.linear(*weights.qkv, work.normed, work.qkv, false, work.scratch);
  attention(model, layer, stretches, work);
  if (ends_at(LinearKind::kOutput, work.attended)) return;
  backend.linear(*weights.output, work.attended, work.residual, true, work.scratch);
  backend.rms_norm(work.residual, weights.feed_forward_norm.as<float>(), epsilon, work.normed);
  if (ends_at(LinearKind::kGateUp, work.normed)) return;
  backend.gated(*weights.gate_up, work.normed, work.gated, work.beside);
  if (ends_at(LinearKind::kDown, work.gated)) return;
  backend.linear(*weights.down, work.gated, work.residual, true, work.scratch);
}

void decode_step(const Model& model, std::span<const int32_t> tokens, std::span<const Stretch> stretches,
                 const Workspace& workspace) {
  const auto count = static_cast<int64_t>(tokens.size());
  const Workspace work = first_rows(workspace, count);
  if (model.embedding) {
    model.embedding->read(tokens, work.residual);
  } else {
    model.backend->embed(*model.head, tokens, work.residual);
  }
  fill_positions(model, stretches, work);
  model.backend->run_step(count, [&] {
    for (int layer = 0; layer < model.shape.layers; ++layer) decode_layer(model, layer, stretches, work);
  });
}

Tensor final_hidden(const Model& model, const Workspace& workspace, int64_t begin, int64_t rows) {
  const Tensor hidden = workspace.normed.slice(0, rows);
  model.backend->rms_norm(workspace.residual.slice(begin, rows), model.final_norm.as<float>(), model.shape.norm_epsilon,
                          hidden);
  return hidden;
}

void compute_logits(const Model& model, Tensor hidden, const Workspace& workspace, Tensor logits) {
  model.backend->linear(*model.head, hidden, logits, false, workspace.scratch);
}

int32_t best_token(const Model& model, Tensor hidden, const Workspace& workspace, Tensor space) {
  return static_cast<int32_t>(model.backend->best_row(*model.head, hidden, space, workspace.scratch));
}

}  // namespace kvpareto
