#include "model/shelf.h"

#include <filesystem>

namespace kvpareto {

ModelShelf::ModelShelf(const Checkpoint& checkpoint, Backend& backend, LoadProgress progress)
    : checkpoint_(checkpoint),
      backend_(backend),
      progress_(std::move(progress)),
      shape_(read_shape(checkpoint)),
      file_(std::filesystem::path(checkpoint.path()).filename()),
      fingerprint_(checkpoint.fingerprint()) {}

const Model& ModelShelf::at(const WeightScheme& scheme) {
  if (model_ && model_->weights.scheme == scheme) return *model_;
  plan_weights(checkpoint_, shape_, scheme);  // refuses before the other is lost
  model_.reset();
  model_.emplace(load_model(checkpoint_, backend_, scheme, progress_));
  return *model_;
}

const Model& ModelShelf::bf16_head() {
  if (!head_) head_.emplace(load_head(checkpoint_, backend_));
  return *head_;
}

}  // namespace kvpareto
