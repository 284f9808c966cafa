#include "awq/calibration.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kBatchTokens = 2048;  // that go through a layer together

// 1 / mean square of every row.
std::vector<float> inverse_squares(Tensor x) {
  std::vector<float> out;
  for (int64_t t = 0; t < x.rows(); ++t) {
    double sum = 0;
    for (int64_t c = 0; c < x.columns(); ++c) sum += static_cast<double>(x.row<float>(t)[c]) * x.row<float>(t)[c];
    out.push_back(static_cast<float>(static_cast<double>(x.columns()) / std::max(sum, 1e-30)));
  }
  return out;
}

// A copy of an activation, which the workspace is about to reuse.
class Kept {
 public:
  explicit Kept(Tensor x) : view_(x), bytes_(static_cast<size_t>(x.rows() * x.columns()) * bytes_of(x.type)) {
    const size_t row = static_cast<size_t>(x.columns()) * bytes_of(x.type);
    for (int64_t t = 0; t < x.rows(); ++t) {
      std::memcpy(bytes_.data() + static_cast<size_t>(t) * row, x.slice(t, 1).data, row);
    }
  }
  Tensor view() {
    Tensor x = view_;
    x.data = bytes_.data();
    x.row_stride = x.columns();
    return x;
  }

 private:
  Tensor view_;
  std::vector<char> bytes_;
};

}  // namespace

uint64_t Calibration::hash() const {
  uint64_t hash = 0;
  for (const auto& tokens : sequences)
    hash = hash_bytes(tokens.data(), tokens.size() * sizeof(int32_t), hash + tokens.size());
  return hash;
}

CalibrationRun::CalibrationRun(const Checkpoint& checkpoint, Backend& backend, const ModelShape& shape,
                               const Calibration& calibration)
    : checkpoint_(checkpoint), backend_(backend), shape_(shape), sequences_(calibration.sequences.size()) {
  if (calibration.sequences.empty() || calibration.sequences.front().empty()) {
    fail_usage("{}: wanted calibration text, found none", calibration.origin);
  }
  const size_t length = calibration.sequences.front().size();
  length_ = static_cast<int64_t>(length);
  if (length_ > shape.context) {
    fail_usage("{}: wanted calibration sequences of at most {} tokens, found {}", calibration.origin, shape.context,
               length_);
  }
  const TensorInfo& table = *checkpoint.find("token_embd.weight");
  const auto width = static_cast<size_t>(shape.hidden);
  states_.resize(sequences_ * length * width);
  float* out = states_.data();
  for (const auto& tokens : calibration.sequences) {
    if (tokens.size() != length) {
      fail_usage("{}: wanted sequences of one length, found {} and {} tokens", calibration.origin, length,
                 tokens.size());
    }
    for (const int32_t token : tokens) {
      if (token < 0 || token >= shape.vocabulary) {
        fail_usage("{}: wanted token ids 0 to {}, found {}", calibration.origin, shape.vocabulary - 1, token);
      }
      checkpoint.read(table, token, 1, out);
      // As a model holds it.
      std::transform(out, out + width, out, [](float x) { return to_float(to_bf16(x)); });
      out += width;
    }
  }
  checkpoint.release(table);
  shape_.layers = 1;
}

// What so many sequences need to go through a layer side by side.
struct CalibrationRun::Space {
  Space(const Model& model, Backend& backend, const ModelShape& shape, size_t count, int64_t length) {
    const auto context = static_cast<int>(length), tokens = static_cast<int>(count) * context;
    for (size_t i = 0; i < count; ++i) {
      caches.push_back(std::make_unique<KvCache>(backend, KvScheme(), shape.cache_shape(context, context)));
      stretches.push_back({caches.back().get(), length});
    }
    scratch = backend.allocate(workspace_bytes(shape, model.weights, backend, tokens, context), Purpose::kScratch);
    work = plan_workspace(model, tokens, context, scratch.data());
  }

  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<Stretch> stretches;
  Buffer scratch;
  Workspace work;
};

LayerMoments CalibrationRun::run(const LayerMatrices& layer) {
  Model model;
  model.backend = &backend_;
  model.shape = shape_;
  model.weights = plan_weights(checkpoint_, shape_);
  model.layers.push_back(make_layer(layer, backend_));
  LayerMoments moments;
  for (const int64_t columns : {int64_t{shape_.hidden}, int64_t{shape_.heads} * shape_.head_dim, int64_t{shape_.hidden},
                                int64_t{shape_.feed_forward}}) {
    moments.kinds.emplace_back(backend_, columns);
  }
  const auto at_once = std::clamp<size_t>(static_cast<size_t>(kBatchTokens / length_), 1, sequences_);
  std::optional<Space> space(std::in_place, model, backend_, shape_, at_once, length_);
  for (size_t begin = 0; begin < sequences_; begin += at_once) {
    stop_if_interrupted();
    if (sequences_ - begin < at_once) space.emplace(model, backend_, shape_, sequences_ - begin, length_);
    run_batch(model, *space, begin, moments);
  }
  return moments;
}

void CalibrationRun::run_batch(const Model& model, Space& space, size_t begin, LayerMoments& moments) {
  const int64_t tokens = static_cast<int64_t>(space.stretches.size()) * length_;
  for (const auto& cache : space.caches) cache->rewind({0});
  const Workspace& work = space.work;
  float* states = states_.data() + static_cast<int64_t>(begin) * length_ * shape_.hidden;
  std::copy_n(states, tokens * shape_.hidden, work.residual.as<float>());
  fill_positions(model, space.stretches, work);

  std::optional<Kept> attended, gated;
  decode_layer(model, 0, space.stretches, work, [&](LinearKind kind, Tensor input) {
    if (kind == LinearKind::kOutput) attended.emplace(input);
    if (kind == LinearKind::kDown) gated.emplace(input);
    if (kind == LinearKind::kGateUp) {
      moments.at(LinearKind::kOutput).add(attended->view(), inverse_squares(work.residual));
      attended.reset();
    }
    if (kind == LinearKind::kQkv || kind == LinearKind::kGateUp) moments.at(kind).add(input);
  });
  moments.at(LinearKind::kDown).add(gated->view(), inverse_squares(work.residual));
  std::copy_n(work.residual.as<float>(), tokens * shape_.hidden, states);
}

}  // namespace kvpareto
