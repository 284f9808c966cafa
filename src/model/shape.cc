#include "model/shape.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "model/family.h"

namespace kvpareto {
namespace {

constexpr std::array<const Family*, 2> kFamilies = {&kLlama, &kQwen2};

class Reader {
 public:
  explicit Reader(const Checkpoint& file) : file_(file) {}

  int size(std::string_view key, double highest) const {
    const std::optional<double> value = file_.number(key);
    if (!value) fail("{}: metadata {}.{} is missing", file_.path(), file_.architecture(), key);
    return checked(key, *value, highest);
  }
  int size_or(std::string_view key, double fallback, double highest) const {
    return checked(key, file_.number(key).value_or(fallback), highest);
  }
  double positive_or(std::string_view key, double fallback) const {
    const double value = file_.number(key).value_or(fallback);
    if (!(value > 0) || !std::isfinite(value))
      fail("{}: metadata {} should be positive, found {}", file_.path(), key, value);
    return value;
  }

  // Demands a tensor [rows, columns], or [columns] if rows is 0.
  void demand(const std::string& name, int64_t rows, int64_t columns) const {
    const TensorInfo* info = file_.find(name);
    if (info == nullptr) fail("{}: tensor {} is missing", file_.path(), name);
    const std::vector<int64_t> wanted = rows > 0 ? std::vector{rows, columns} : std::vector{columns};
    if (info->shape == wanted) return;
    fail("{}: tensor {} should have shape [{}] by the metadata, found [{}]", file_.path(), name,
         fmt::join(wanted, ", "), fmt::join(info->shape, ", "));
  }

 private:
  int checked(std::string_view key, double value, double highest) const {
    if (value >= 1 && value <= highest && value == std::floor(value)) return static_cast<int>(value);
    fail("{}: metadata {} should be a whole number from 1 to {}, found {}", file_.path(), key, highest, value);
  }
  const Checkpoint& file_;
};

void demand_tensors(const Reader& reader, const ModelShape& shape) {
  const int query_rows = shape.heads * shape.head_dim, key_rows = shape.kv_heads * shape.head_dim;
  reader.demand("token_embd.weight", shape.vocabulary, shape.hidden);
  reader.demand("output_norm.weight", 0, shape.hidden);
  if (!shape.tied) reader.demand("output.weight", shape.vocabulary, shape.hidden);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    reader.demand(block + "attn_norm.weight", 0, shape.hidden);
    reader.demand(block + "ffn_norm.weight", 0, shape.hidden);
    reader.demand(block + "attn_q.weight", query_rows, shape.hidden);
    reader.demand(block + "attn_k.weight", key_rows, shape.hidden);
    reader.demand(block + "attn_v.weight", key_rows, shape.hidden);
    reader.demand(block + "attn_output.weight", shape.hidden, query_rows);
    reader.demand(block + "ffn_gate.weight", shape.feed_forward, shape.hidden);
    reader.demand(block + "ffn_up.weight", shape.feed_forward, shape.hidden);
    reader.demand(block + "ffn_down.weight", shape.hidden, shape.feed_forward);
    if (!shape.qkv_bias) continue;
    reader.demand(block + "attn_q.bias", 0, query_rows);
    reader.demand(block + "attn_k.bias", 0, key_rows);
    reader.demand(block + "attn_v.bias", 0, key_rows);
  }
}

// A bias that the family does not have: ignoring it would change the model, and weights_bytes() does not count it.
void refuse_other_biases(const Checkpoint& file, const ModelShape& shape) {
  for (const TensorInfo& info : file.tensors()) {
    const std::string_view name = info.name;
    const bool expected = shape.qkv_bias && (name.ends_with("attn_q.bias") || name.ends_with("attn_k.bias") ||
                                             name.ends_with("attn_v.bias"));
    if (!name.ends_with(".bias") || expected) continue;
    fail("{}: tensor {} is not part of the architecture {} as supported here", file.path(), name, shape.family);
  }
}

// Vectors of the kernels; every model of these families keeps to them.
void demand_multiple(const Checkpoint& file, const char* what, int value, int unit) {
  if (value % unit != 0)
    fail("{}: {} {} is not a multiple of {}, which this engine needs", file.path(), what, value, unit);
}

}  // namespace

const Family& find_family(std::string_view architecture, const std::string& path) {
  std::vector<std::string> known;
  for (const Family* family : kFamilies) {
    if (family->architecture == architecture) return *family;
    known.emplace_back(family->architecture);
  }
  fail("{}: architecture '{}' is not supported; supported: {}", path, architecture, join(known, ", "));
}

ModelShape read_shape(const Checkpoint& checkpoint) {
  const Family& family = find_family(checkpoint.architecture(), checkpoint.path());
  const Reader reader(checkpoint);
  const TensorInfo* embedding = checkpoint.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) fail("{}: no token embedding matrix", checkpoint.path());

  ModelShape shape;
  shape.family = family.architecture;
  shape.layers = reader.size("block_count", 1024);
  shape.hidden = reader.size("embedding_length", 1 << 17);
  shape.heads = reader.size("attention.head_count", 1024);
  shape.kv_heads = reader.size_or("attention.head_count_kv", shape.heads, 1024);
  shape.head_dim = reader.size_or("attention.key_length", shape.hidden / static_cast<double>(shape.heads), 1024);
  shape.feed_forward = reader.size("feed_forward_length", 1 << 20);
  shape.vocabulary = static_cast<int>(std::min<int64_t>(embedding->rows(), 1 << 24));
  shape.context = reader.size("context_length", 1 << 27);
  shape.rope_base = reader.positive_or("rope.freq_base", 10000);
  shape.norm_epsilon = static_cast<float>(reader.positive_or("attention.layer_norm_rms_epsilon", 1e-5));
  shape.qkv_bias = family.qkv_bias;
  shape.tied = checkpoint.find("output.weight") == nullptr;

  const std::string& path = checkpoint.path();
  if (shape.heads % shape.kv_heads != 0)
    fail("{}: {} heads do not share {} key heads evenly", path, shape.heads, shape.kv_heads);
  if (reader.size_or("attention.value_length", shape.head_dim, 1024) != shape.head_dim) {
    fail("{}: keys and values of different head sizes are not supported", path);
  }
  if (reader.size_or("rope.dimension_count", shape.head_dim, 1024) != shape.head_dim) {
    fail("{}: rotation of a part of each head is not supported", path);
  }
  const std::string scaling = checkpoint.text("rope.scaling.type").value_or("none");
  if (scaling != "none" && !scaling.empty()) fail("{}: RoPE scaling '{}' is not supported yet", path, scaling);
  if (checkpoint.find("rope_freqs.weight") != nullptr) fail("{}: RoPE frequency factors are not supported yet", path);
  demand_multiple(checkpoint, "head size", shape.head_dim, kChunk);
  demand_multiple(checkpoint, "hidden size", shape.hidden, 16);
  demand_multiple(checkpoint, "feed-forward size", shape.feed_forward, 16);
  demand_tensors(reader, shape);
  refuse_other_biases(checkpoint, shape);
  return shape;
}

}  // namespace kvpareto
