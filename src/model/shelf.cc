#include "model/shelf.h"

#include <filesystem>

#include "base/error.h"

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
  model_.emplace(scheme.awq ? load_made(scheme) : load_model(checkpoint_, backend_, scheme, progress_));
  return *model_;
}

// The linears as they were made, the tables as the scheme says; it goes by the name of the file that it was made of.
Model ModelShelf::load_made(const WeightScheme& scheme) const {
  if (!maker_) fail_usage("weights {}: nothing here makes AWQ weights", to_text(scheme));
  const std::unique_ptr<Checkpoint> made = maker_->make(scheme);
  WeightScheme held = scheme;
  held.linears = {.stored = true, .format = {}};
  held.changes.clear();
  Model model = load_model(*made, backend_, held, progress_);
  model.weights.scheme = scheme;
  model.file = file_;
  model.fingerprint = fingerprint_;
  return model;
}

const Model& ModelShelf::bf16_head() {
  if (!head_) head_.emplace(load_head(checkpoint_, backend_));
  return *head_;
}

}  // namespace kvpareto
