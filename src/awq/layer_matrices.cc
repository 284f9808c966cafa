#include "awq/layer_matrices.h"

#include <fmt/format.h>

#include <algorithm>

namespace kvpareto {
namespace {

void divide(std::vector<float>& values, std::span<const float> scales) {
  for (size_t i = 0; i < values.size(); ++i) values[i] /= scales[i];
}

// Every row (and its bias) by the scale of its output.
void divide_rows(Matrix& matrix, std::span<const float> scales) {
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    float* row = matrix.weights.data() + r * matrix.columns;
    for (int64_t c = 0; c < matrix.columns; ++c) row[c] /= scales[static_cast<size_t>(r)];
  }
  if (!matrix.bias.empty()) divide(matrix.bias, scales);
}

void multiply_columns(Matrix& matrix, std::span<const float> scales) {
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    float* row = matrix.weights.data() + r * matrix.columns;
    for (int64_t c = 0; c < matrix.columns; ++c) row[c] *= scales[static_cast<size_t>(c)];
  }
}

// Channels of v by those of o: the first query head of every value head stands for all that share it.
std::vector<float> value_scales(std::span<const float> scales, const ModelShape& shape) {
  const auto head = static_cast<size_t>(shape.head_dim), sharing = static_cast<size_t>(shape.heads / shape.kv_heads);
  std::vector<float> out;
  for (size_t kv = 0; kv < static_cast<size_t>(shape.kv_heads); ++kv) {
    const auto first = scales.begin() + static_cast<int64_t>(kv * sharing * head);
    out.insert(out.end(), first, first + static_cast<int64_t>(head));
  }
  return out;
}

std::unique_ptr<Linear> stack(const LayerMatrices& layer, std::initializer_list<Part> parts, Backend& backend) {
  int64_t rows = 0;
  std::vector<float> biases;
  for (const Part part : parts) {
    const Matrix& matrix = layer.at(part);
    rows += matrix.rows();
    biases.insert(biases.end(), matrix.bias.begin(), matrix.bias.end());
  }
  const int64_t columns = layer.at(*parts.begin()).columns;
  const RowReader reader = [&](int64_t begin, int64_t count, float* out) {
    int64_t first = 0;
    for (const Part part : parts) {
      const Matrix& matrix = layer.at(part);
      const int64_t from = std::max(begin, first), to = std::min(begin + count, first + matrix.rows());
      if (from < to) {
        std::copy_n(matrix.weights.data() + (from - first) * columns, (to - from) * columns,
                    out + (from - begin) * columns);
      }
      first += matrix.rows();
    }
  };
  return backend.make_linear(rows, columns, reader, biases);
}

Buffer copied(const std::vector<float>& values, Backend& backend) {
  Buffer buffer = backend.allocate(values.size() * sizeof(float), Purpose::kWeights);
  std::copy(values.begin(), values.end(), buffer.as<float>());
  return buffer;
}

}  // namespace

LayerMatrices read_layer(const Checkpoint& checkpoint, const ModelShape& shape, int layer) {
  const std::string block = fmt::format("blk.{}.", layer);
  const auto optional = [&](const std::string& name) {
    return checkpoint.find(block + name) == nullptr ? std::vector<float>()
                                                    : read_tensor(checkpoint, shape, block + name);
  };
  LayerMatrices matrices;
  matrices.attention_norm = read_tensor(checkpoint, shape, block + "attn_norm.weight");
  matrices.feed_forward_norm = read_tensor(checkpoint, shape, block + "ffn_norm.weight");
  matrices.query_norm = optional("attn_q_norm.weight");
  matrices.key_norm = optional("attn_k_norm.weight");
  for (size_t i = 0; i < kParts; ++i) {
    const std::string name(kPartInfos[i].name);
    matrices.parts[i] = {checkpoint.find(block + name + ".weight")->columns(),
                         read_tensor(checkpoint, shape, block + name + ".weight"), optional(name + ".bias")};
  }
  return matrices;
}

LayerWeights make_layer(const LayerMatrices& matrices, Backend& backend) {
  LayerWeights weights;
  weights.attention_norm = copied(matrices.attention_norm, backend);
  weights.feed_forward_norm = copied(matrices.feed_forward_norm, backend);
  if (!matrices.query_norm.empty()) {
    weights.query_norm = copied(matrices.query_norm, backend);
    weights.key_norm = copied(matrices.key_norm, backend);
  }
  weights.qkv = stack(matrices, {Part::kQuery, Part::kKey, Part::kValue}, backend);
  weights.output = stack(matrices, {Part::kOutput}, backend);
  weights.gate_up = stack(matrices, {Part::kGate, Part::kUp}, backend);
  weights.down = stack(matrices, {Part::kDown}, backend);
  weights.key_bias = matrices.at(Part::kKey).bias;
  weights.value_bias = matrices.at(Part::kValue).bias;
  return weights;
}

RowScales folded_rows(LinearKind kind, std::span<const float> scales, const ModelShape& shape) {
  if (kind == LinearKind::kOutput) return {Part::kValue, value_scales(scales, shape)};
  if (kind == LinearKind::kDown) return {Part::kUp, {scales.begin(), scales.end()}};
  return {};
}

void fold_scales(LayerMatrices& layer, LinearKind kind, std::span<const float> scales, const ModelShape& shape) {
  const RowScales rows = folded_rows(kind, scales, shape);
  if (!rows.scales.empty()) {
    divide_rows(layer.at(rows.part), rows.scales);
  } else {
    divide(kind == LinearKind::kQkv ? layer.attention_norm : layer.feed_forward_norm, scales);
  }
  for (size_t i = 0; i < kParts; ++i) {
    if (kPartInfos[i].kind == kind) multiply_columns(layer.parts[i], scales);
  }
}

void tie_shared_channels(LinearKind kind, const ModelShape& shape, std::span<float> logs) {
  if (kind != LinearKind::kOutput) return;
  const auto head = static_cast<size_t>(shape.head_dim), sharing = static_cast<size_t>(shape.heads / shape.kv_heads);
  for (size_t kv = 0; kv < static_cast<size_t>(shape.kv_heads); ++kv) {
    for (size_t c = 0; c < head; ++c) {
      float sum = 0;
      for (size_t h = 0; h < sharing; ++h) sum += logs[(kv * sharing + h) * head + c];
      for (size_t h = 0; h < sharing; ++h) logs[(kv * sharing + h) * head + c] = sum / static_cast<float>(sharing);
    }
  }
}

}  // namespace kvpareto
