#pragma once
// One model file under several weight schemes, one in memory at a time: loading is slow, so the last is kept, and who
// measures many configurations sorts them by weights.

#include <memory>
#include <optional>
#include <string>

#include "model/model.h"

namespace kvpareto {

// Makes the weights of schemes that end in .awq.
class WeightMaker {
 public:
  virtual ~WeightMaker() = default;
  // A file that holds the linears as the scheme says.
  virtual std::unique_ptr<Checkpoint> make(const WeightScheme& scheme) = 0;
  // By what text and recipe, in words and hashes: another text where the weights would be others.
  virtual std::string calibration() = 0;
  virtual std::string calibration_file() = 0;  // that the user named; empty: none
};

class ModelShelf {
 public:
  // Reads metadata alone. The checkpoint and the backend must outlive the shelf.
  ModelShelf(const Checkpoint& checkpoint, Backend& backend, LoadProgress progress = {});

  // Without one, schemes that end in .awq are refused.
  void set_maker(std::unique_ptr<WeightMaker> maker) { maker_ = std::move(maker); }
  std::string calibration() const { return maker_ ? maker_->calibration() : ""; }  // of what it makes
  std::string calibration_file() const { return maker_ ? maker_->calibration_file() : ""; }

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
  std::unique_ptr<WeightMaker> maker_;
  ModelShape shape_;
  std::string file_;
  uint64_t fingerprint_;
  std::optional<Model> model_, head_;
};

}  // namespace kvpareto
