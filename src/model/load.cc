#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
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

  StoredRows left_in_file(const RowsPlace& place) {
    finished(*file_.find("token_embd.weight"));
    return StoredRows(place);
  }

  std::unique_ptr<Linear> linear(const PlannedLinear& planned) {
    std::vector<WeightSource> sources;
    std::vector<float> biases;
    for (size_t i = 0; i < planned.tensors.size(); ++i) {
      sources.push_back(source(planned.spec.parts[i].format, tensors(planned.tensors[i])));
      for (const std::string& name : planned.tensors[i]) {
        const std::vector<float> piece = bias(name);
        biases.insert(biases.end(), piece.begin(), piece.end());
      }
    }
    std::unique_ptr<Linear> linear = backend_.make_linear(planned.spec, sources, biases);
    for (const auto& names : planned.tensors) {
      for (const TensorInfo* info : tensors(names)) finished(*info);
    }
    return linear;
  }

 private:
  bool rotated(const std::string& name) const {
    return family_.interleaved_in_gguf && file_.format().starts_with("GGUF") &&
           (name.find("attn_q") != std::string::npos || name.find("attn_k") != std::string::npos);
  }

  std::vector<const TensorInfo*> tensors(const std::vector<std::string>& names) const {
    std::vector<const TensorInfo*> infos;
    for (const std::string& name : names) infos.push_back(file_.find(name + ".weight"));
    return infos;
  }

  // Of tensors one below the other, in the form that the format is made from.
  WeightSource source(const WeightFormat& format, const std::vector<const TensorInfo*>& parts) const {
    if (format.codec != WeightCodec::kBf16 && !is_grouped(format.codec)) {
      return BlockReader([this, parts](int64_t row) {
        const auto [info, r] = place_of(parts, row);
        return file_.stored_row(*info, r);
      });
    }
    const bool blocks_of_int8 =
        format == WeightFormat{WeightCodec::kInt8Apart, 32} &&
        std::ranges::all_of(parts, [](const TensorInfo* info) { return info->storage == "Q8_0"; });
    if (blocks_of_int8) {
      return UnitReader([this, parts](int64_t row, int64_t unit, WeightUnit& out) {
        const auto [info, r] = place_of(parts, row);
        const size_t bytes = block_bytes({WeightCodec::kQ8_0, 0});
        split_block(WeightCodec::kQ8_0, file_.stored_row(*info, r) + static_cast<size_t>(unit) * bytes, out);
      });
    }
    const bool coded = is_grouped(format.codec) && std::ranges::all_of(parts, [&](const TensorInfo* info) {
                         return info->storage == to_text(WeightChoice{.stored = false, .format = format});
                       });
    if (coded) {
      return UnitReader([this, parts](int64_t row, int64_t unit, WeightUnit& out) {
        const auto [info, r] = place_of(parts, row);
        file_.read_unit(*info, r, unit, out);
      });
    }
    return RowReader([this, parts](int64_t begin, int64_t count, float* out) {
      const int64_t columns = parts.front()->columns();
      int64_t first = 0;  // row of the stack where this part begins
      for (const TensorInfo* part : parts) {
        const int64_t from = std::max(begin, first), to = std::min(begin + count, first + part->rows());
        if (from < to) read_rows(*part, from - first, to - from, out + (from - begin) * columns);
        first += part->rows();
      }
    });
  }

  // The tensor that holds a row of the stack, and its row there.
  std::pair<const TensorInfo*, int64_t> place_of(const std::vector<const TensorInfo*>& parts, int64_t row) const {
    size_t i = 0;
    for (; row >= parts[i]->rows(); ++i) row -= parts[i]->rows();
    return {parts[i], stored_row(row, shape_.head_dim, rotated(parts[i]->name))};
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

// All but the weights.
Model describe(const Checkpoint& checkpoint, Backend& backend, const WeightScheme& scheme) {
  Model model;
  model.backend = &backend;
  model.shape = read_shape(checkpoint);
  model.file = std::filesystem::path(checkpoint.path()).filename();
  model.fingerprint = checkpoint.fingerprint();
  std::set<std::string> storages;
  for (const TensorInfo& info : checkpoint.tensors()) storages.insert(info.storage);
  model.stored_as = join(std::vector<std::string>(storages.begin(), storages.end()), ", ");
  model.weights = plan_weights(checkpoint, model.shape, scheme);
  return model;
}

}  // namespace

Model load_head(const Checkpoint& checkpoint, Backend& backend) {
  Model model = describe(checkpoint, backend, {});
  const LoadProgress silent;
  Loader loader(checkpoint, backend, model.shape, silent);
  model.head = loader.linear(model.weights.head);
  return model;
}

Model load_model(const Checkpoint& checkpoint, Backend& backend, const WeightScheme& scheme,
                 const LoadProgress& progress) {
  Model model = describe(checkpoint, backend, scheme);

  Loader loader(checkpoint, backend, model.shape, progress);
  if (model.weights.embedding) model.embedding.emplace(loader.left_in_file(*model.weights.embedding));
  model.head = loader.linear(model.weights.head);
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
    const PlannedLayer& planned = model.weights.layers[static_cast<size_t>(layer)];
    weights.qkv = loader.linear(planned.qkv);
    weights.output = loader.linear(planned.output);
    weights.gate_up = loader.linear(planned.gate_up);
    weights.down = loader.linear(planned.down);
    weights.key_bias = loader.bias(block + "attn_k");
    weights.value_bias = loader.bias(block + "attn_v");
  }
  return model;
}

size_t Model::bytes() const {
  size_t sum = final_norm.bytes() + head->bytes();
  for (const LayerWeights& layer : layers) {
    sum += layer.attention_norm.bytes() + layer.feed_forward_norm.bytes() + layer.query_norm.bytes() +
           layer.key_norm.bytes() + layer.qkv->bytes() + layer.output->bytes() + layer.gate_up->bytes() +
           layer.down->bytes();
  }
  return sum;
}

std::vector<float> read_tensor(const Checkpoint& checkpoint, const ModelShape& shape, const std::string& name) {
  const TensorInfo& info = *checkpoint.find(name);
  const bool interleaved = find_family(shape.family, checkpoint.path()).interleaved_in_gguf &&
                           checkpoint.format().starts_with("GGUF") &&
                           (name.find("attn_q.") != std::string::npos || name.find("attn_k.") != std::string::npos);
  const int64_t width = info.shape.size() > 1 ? info.columns() : 1, rows = info.rows() * info.columns() / width;
  std::vector<float> stored(static_cast<size_t>(rows * width));
  constexpr int64_t kPiece = 64;
  parallel_for((info.rows() + kPiece - 1) / kPiece, [&](int64_t piece) {
    const int64_t begin = piece * kPiece, count = std::min(kPiece, info.rows() - begin);
    checkpoint.read(info, begin, count, stored.data() + begin * info.columns());
  });
  checkpoint.release(info);
  if (!interleaved) return stored;
  std::vector<float> out(stored.size());
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(stored.data() + stored_row(r, shape.head_dim, true) * width, width, out.data() + r * width);
  }
  return out;
}

std::vector<KvBias> kv_biases(const Model& model) {
  std::vector<KvBias> biases;
  for (const LayerWeights& layer : model.layers) {
    if (!layer.key_bias.empty()) biases.push_back({layer.key_bias, layer.value_bias});
  }
  return biases;
}

}  // namespace kvpareto
