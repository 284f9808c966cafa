#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "model/family.h"
#include "model/model.h"

namespace kvpareto {
namespace {

// Row of the file that holds row `r` of a query or key matrix in half-split order.
int64_t stored_row(int64_t r, int head_dim, bool interleaved) {
  if (!interleaved) return r;
  const int64_t head = r / head_dim, channel = r % head_dim, half = head_dim / 2;
  return head * head_dim + 2 * (channel % half) + channel / half;
}

class Loader {
 public:
  Loader(const Checkpoint& file, Backend& backend, const ModelShape& shape, const LoadProgress& progress)
      : file_(file),
        backend_(backend),
        shape_(shape),
        family_(find_family(shape.family, file.path())),
        progress_(progress) {}

  Buffer vector(const std::string& name) {
    const std::vector<float> values = floats(name);
    Buffer buffer = backend_.allocate(values.size() * sizeof(float), Purpose::kWeights);
    std::copy(values.begin(), values.end(), buffer.as<float>());
    return buffer;
  }

  // f32, rows in the order of the matrix that it belongs to; empty if the file has none.
  std::vector<float> bias(const std::string& name) const {
    if (file_.find(name + ".bias") == nullptr) return {};
    return permuted(floats(name + ".bias"), rotated(name));
  }

  // Matrices with the same columns, one below the other.
  std::unique_ptr<Linear> stacked(const std::vector<std::string>& names) {
    std::vector<const TensorInfo*> parts;
    int64_t rows = 0;
    for (const std::string& name : names) {
      parts.push_back(file_.find(name + ".weight"));
      rows += parts.back()->rows();
    }
    const int64_t columns = parts.front()->columns();
    const RowReader reader = [&](int64_t begin, int64_t count, float* out) {
      int64_t first = 0;  // row of the stack where this part begins
      for (const TensorInfo* part : parts) {
        const int64_t from = std::max(begin, first), to = std::min(begin + count, first + part->rows());
        if (from < to) read_rows(*part, from - first, to - from, out + (from - begin) * columns);
        first += part->rows();
      }
    };
    std::vector<float> biases;
    for (const std::string& name : names) {
      const std::vector<float> piece = bias(name);
      biases.insert(biases.end(), piece.begin(), piece.end());
    }
    std::unique_ptr<Linear> linear = backend_.make_linear(rows, columns, reader, biases);
    for (const TensorInfo* part : parts) finished(*part);
    return linear;
  }

 private:
  bool rotated(const std::string& name) const {
    return family_.interleaved_in_gguf && file_.format().starts_with("GGUF") &&
           (name.find("attn_q") != std::string::npos || name.find("attn_k") != std::string::npos);
  }

  void read_rows(const TensorInfo& info, int64_t begin, int64_t count, float* out) const {
    if (!rotated(info.name)) return file_.read(info, begin, count, out);
    for (int64_t r = 0; r < count; ++r) {
      file_.read(info, stored_row(begin + r, shape_.head_dim, true), 1, out + r * info.columns());
    }
  }

  std::vector<float> permuted(const std::vector<float>& values, bool interleaved) const {
    std::vector<float> out(values.size());
    for (size_t r = 0; r < out.size(); ++r) {
      out[r] = values[static_cast<size_t>(stored_row(static_cast<int64_t>(r), shape_.head_dim, interleaved))];
    }
    return out;
  }

  std::vector<float> floats(const std::string& name) const {
    const TensorInfo& info = *file_.find(name);
    std::vector<float> values(static_cast<size_t>(info.columns()));
    file_.read(info, 0, 1, values.data());
    return values;
  }

  void finished(const TensorInfo& info) {
    file_.release(info);
    bytes_done_ += info.bytes;
    if (progress_) progress_(static_cast<double>(bytes_done_) / static_cast<double>(file_.file_bytes()));
  }

  const Checkpoint& file_;
  Backend& backend_;
  const ModelShape& shape_;
  const Family& family_;
  const LoadProgress& progress_;
  uint64_t bytes_done_ = 0;
};

}  // namespace

Model load_model(const Checkpoint& checkpoint, Backend& backend, const LoadProgress& progress) {
  Model model;
  model.backend = &backend;
  model.shape = read_shape(checkpoint);
  model.file = std::filesystem::path(checkpoint.path()).filename();
  model.fingerprint = checkpoint.fingerprint();
  std::set<std::string> storages;
  for (const TensorInfo& info : checkpoint.tensors()) storages.insert(info.storage);
  model.stored_as = join(std::vector<std::string>(storages.begin(), storages.end()), ", ");

  Loader loader(checkpoint, backend, model.shape, progress);
  model.embedding = loader.stacked({"token_embd"});
  if (!model.shape.tied) model.head = loader.stacked({"output"});
  model.final_norm = loader.vector("output_norm.weight");
  for (int layer = 0; layer < model.shape.layers; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    LayerWeights& weights = model.layers.emplace_back();
    weights.attention_norm = loader.vector(block + "attn_norm.weight");
    weights.feed_forward_norm = loader.vector(block + "ffn_norm.weight");
    if (model.shape.query_key_norm) {
      weights.query_norm = loader.vector(block + "attn_q_norm.weight");
      weights.key_norm = loader.vector(block + "attn_k_norm.weight");
    }
    weights.qkv = loader.stacked({block + "attn_q", block + "attn_k", block + "attn_v"});
    weights.output = loader.stacked({block + "attn_output"});
    weights.gate_up = loader.stacked({block + "ffn_gate", block + "ffn_up"});
    weights.down = loader.stacked({block + "ffn_down"});
    weights.key_bias = loader.bias(block + "attn_k");
    weights.value_bias = loader.bias(block + "attn_v");
  }
  return model;
}

std::vector<KvBias> kv_biases(const Model& model) {
  std::vector<KvBias> biases;
  for (const LayerWeights& layer : model.layers) {
    if (!layer.key_bias.empty()) biases.push_back({layer.key_bias, layer.value_bias});
  }
  return biases;
}

size_t weights_bytes(const ModelShape& shape, const Backend& backend) {
  const size_t norm = Backend::padded(static_cast<size_t>(shape.hidden) * sizeof(float));
  const size_t head_norm = Backend::padded(static_cast<size_t>(shape.head_dim) * sizeof(float));
  const size_t layer = 2 * norm + (shape.query_key_norm ? 2 * head_norm : 0) +
                       backend.linear_bytes(shape.qkv_rows(), shape.hidden, shape.qkv_bias) +
                       backend.linear_bytes(shape.hidden, shape.heads * shape.head_dim, false) +
                       backend.linear_bytes(2 * int64_t{shape.feed_forward}, shape.hidden, false) +
                       backend.linear_bytes(shape.hidden, shape.feed_forward, false);
  const size_t table = backend.linear_bytes(shape.vocabulary, shape.hidden, false);
  return norm + table * (shape.tied ? 1 : 2) + layer * static_cast<size_t>(shape.layers);
}

}  // namespace kvpareto
