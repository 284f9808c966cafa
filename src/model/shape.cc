#include "model/shape.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "model/family.h"
#include "model/rope_scaling.h"

namespace kvpareto {
namespace {

constexpr std::array<const Family*, 4> kFamilies = {&kLlama, &kMistral, &kQwen2, &kQwen3};

constexpr double kMostContext = 1 << 27;  // tokens

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
  void demand(const std::string& name, int64_t rows, int64_t columns) {
    const TensorInfo* info = file_.find(name);
    demanded_.insert(name);
    if (info == nullptr) fail("{}: tensor {} is missing", file_.path(), name);
    const std::vector<int64_t> wanted = rows > 0 ? std::vector{rows, columns} : std::vector{columns};
    if (info->shape == wanted) return;
    fail("{}: tensor {} should have shape [{}] by the metadata, found [{}]", file_.path(), name,
         fmt::join(wanted, ", "), fmt::join(info->shape, ", "));
  }

  // A tensor that nobody demanded.
  void refuse_others(std::string_view family) const {
    for (const TensorInfo& info : file_.tensors()) {
      if (demanded_.contains(info.name) || info.name == "rope_freqs.weight") continue;
      fail("{}: tensor {} is not part of the architecture {} as supported here", file_.path(), info.name, family);
    }
  }

 private:
  int checked(std::string_view key, double value, double highest) const {
    if (value >= 1 && value <= highest && value == std::floor(value)) return static_cast<int>(value);
    fail("{}: metadata {} should be a whole number from 1 to {}, found {}", file_.path(), key, highest, value);
  }
  const Checkpoint& file_;
  std::set<std::string, std::less<>> demanded_;
};

// Throws unless the file has all tensors of the model, in the right shapes, and none beside them: one that is left out
// would change the model.
void check_tensors(Reader& reader, const ModelShape& shape) {
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
    if (shape.query_key_norm) {
      reader.demand(block + "attn_q_norm.weight", 0, shape.head_dim);
      reader.demand(block + "attn_k_norm.weight", 0, shape.head_dim);
    }
    if (!shape.qkv_bias) continue;
    reader.demand(block + "attn_q.bias", 0, query_rows);
    reader.demand(block + "attn_k.bias", 0, key_rows);
    reader.demand(block + "attn_v.bias", 0, key_rows);
  }
  reader.refuse_others(shape.family);
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
  Reader reader(checkpoint);
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
  shape.context =
      static_cast<int>(std::min(scaled_context(checkpoint, reader.size("context_length", kMostContext)), kMostContext));
  if (const double window = checkpoint.number("attention.sliding_window").value_or(0); window != 0) {
    shape.window = reader.size("attention.sliding_window", kMostContext);
    // Within the window attention is plain; beyond it there is none here, so a longer context is refused.
    shape.context = std::min(shape.context, shape.window);
  }
  shape.norm_epsilon = static_cast<float>(reader.positive_or("attention.layer_norm_rms_epsilon", 1e-5));
  shape.qkv_bias = family.qkv_bias;
  shape.query_key_norm = family.query_key_norm;
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
  demand_multiple(checkpoint, "head size", shape.head_dim, kGroupMultiple);
  demand_multiple(checkpoint, "hidden size", shape.hidden, 16);
  demand_multiple(checkpoint, "feed-forward size", shape.feed_forward, 16);
  shape.rope = read_rope(checkpoint, shape.head_dim);
  check_tensors(reader, shape);
  return shape;
}

}  // namespace kvpareto
