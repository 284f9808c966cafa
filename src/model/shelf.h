#pragma once
// One model file under several weight schemes, one in memory at a time: loading is slow, so the last is kept, and who
// measures many configurations sorts them by weights.

#include <functional>
#include <memory>
#include <optional>

#include "model/model.h"

namespace kvpareto {

class ModelShelf {
 public:
  // Reads metadata alone. The checkpoint and the backend must outlive the shelf.
  ModelShelf(const Checkpoint& checkpoint, Backend& backend, LoadProgress progress = {});

  // Schemes that end in .awq have their weights made first: `maker` gives a file that holds the linears as the scheme
  // says.
  using WeightMaker = std::function<std::unique_ptr<Checkpoint>(const WeightScheme&)>;
  void set_maker(WeightMaker maker) { maker_ = std::move(maker); }

  Backend& backend() const { return backend_; }
  const ModelShape& shape() const { return shape_; }
  const std::string& file() const { return file_; }  // name without folders
  uint64_t fingerprint() const { return fingerprint_; }

  // The model with these weights. Any other is given up before it is loaded: sessions on that must be gone. Throws as
  // load_model(), and then holds none.
  const Model& at(const WeightScheme& scheme);
  const Model& held() const { return *model_; }  // what at() gave last
  void give_up() { model_.reset(); }             // its memory; sessions on it must be gone
  // The bf16 output head alone, as a model without layers; kept once it was asked for.
  const Model& bf16_head();

 private:
  Model load_made(const WeightScheme& scheme) const;

  const Checkpoint& checkpoint_;
  Backend& backend_;
  LoadProgress progress_;
  WeightMaker maker_;
  ModelShape shape_;
  std::string file_;
  uint64_t fingerprint_;
  std::optional<Model> model_, head_;
};

}  // namespace kvpareto
