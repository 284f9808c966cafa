#include "awq/calibration.h"

#include <algorithm>
#include <array>
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
  states_.resize(2 * sequences_ * length * width);
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
      // As a model has it: the file's numbers, or the head's.
      if (shape.tied) std::transform(out, out + width, out, [](float x) { return to_float(to_bf16(x)); });
      out += width;
    }
  }
  checkpoint.release(table);
  std::copy_n(states_.begin(), states_.size() / 2, out);
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

// What the quantized stream is held against, of a batch.
struct CalibrationRun::Exact {
  std::array<std::optional<Kept>, 4> kinds;  // as Moments::drift has it
};

CalibrationRun::~CalibrationRun() = default;

void CalibrationRun::for_batches(const LayerMatrices& layer, const Work& work) {
  Model model;
  model.backend = &backend_;
  model.shape = shape_;
  model.weights = plan_weights(checkpoint_, shape_);
  model.layers.push_back(make_layer(layer, backend_));
  const auto at_once = std::clamp<size_t>(static_cast<size_t>(kBatchTokens / length_), 1, sequences_);
  std::optional<Space> space(std::in_place, model, backend_, shape_, at_once, length_);
  for (size_t first = 0; first < sequences_; first += at_once) {
    stop_if_interrupted();
    if (sequences_ - first < at_once) space.emplace(model, backend_, shape_, sequences_ - first, length_);
    work(model, *space, first);
  }
}

std::span<float> CalibrationRun::states_of(bool quantized, const Space& space, size_t first) {
  const auto sequence = static_cast<size_t>(length_ * shape_.hidden);
  return std::span(states_).subspan(((quantized ? sequences_ : 0) + first) * sequence,
                                    space.stretches.size() * sequence);
}

// Leaves the stream where it ends in the workspace.
void CalibrationRun::pass(const Model& model, Space& space, std::span<const float> states, const InputWatcher& watch) {
  for (const auto& cache : space.caches) cache->rewind({0});
  std::copy(states.begin(), states.end(), space.work.residual.as<float>());
  fill_positions(model, space.stretches, space.work);
  decode_layer(model, 0, space.stretches, space.work, watch);
}

void CalibrationRun::begin_layer(const LayerMatrices& layer) {
  exact_.clear();
  for_batches(layer, [&](const Model& model, Space& space, size_t first) {
    auto& kinds = exact_.emplace_back().kinds;
    const auto keep = [&](LinearKind kind, Tensor x) { kinds[static_cast<size_t>(kind)].emplace(x); };
    const std::span<float> states = states_of(false, space, first);
    pass(model, space, states, [&](LinearKind kind, Tensor input) {
      if (kind == LinearKind::kGateUp) keep(LinearKind::kOutput, space.work.residual);
      if (is_normed(kind)) keep(kind, input);
      return true;
    });
    keep(LinearKind::kDown, space.work.residual);
    std::copy_n(space.work.residual.as<float>(), states.size(), states.begin());
  });
}

Moments CalibrationRun::moments(LinearKind kind, const LayerMatrices& layer) {
  const int64_t columns = kind == LinearKind::kDown     ? shape_.feed_forward
                          : kind == LinearKind::kOutput ? shape_.heads * shape_.head_dim
                                                        : shape_.hidden;
  Moments sums{SecondMoment(backend_, columns), CrossMoment(backend_, shape_.hidden, columns)};
  auto exact = exact_.begin();
  for_batches(layer, [&](const Model& model, Space& space, size_t first) {
    std::optional<Kept> input;
    pass(model, space, states_of(true, space, first), [&](LinearKind at, Tensor x) {
      if (at == kind) input.emplace(x);
      // As far as what drifts: the residual stream behind o stands when gate and up are reached.
      return is_normed(kind) ? at != kind : at <= LinearKind::kOutput || kind == LinearKind::kDown;
    });
    const Tensor wanted = (exact++)->kinds[static_cast<size_t>(kind)]->view();
    const std::vector<float> weights = is_normed(kind) ? std::vector<float>() : inverse_squares(wanted);
    sums.inputs.add(input->view(), weights);
    sums.drift.add(wanted, is_normed(kind) ? input->view() : space.work.residual, input->view(), weights);
  });
  return sums;
}

void CalibrationRun::end_layer(const LayerMatrices& layer) {
  for_batches(layer, [&](const Model& model, Space& space, size_t first) {
    const std::span<float> states = states_of(true, space, first);
    pass(model, space, states, {});
    std::copy_n(space.work.residual.as<float>(), states.size(), states.begin());
  });
}

}  // namespace kvpareto
