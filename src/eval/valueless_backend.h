#pragma once
// A backend whose caches hold no values: what is packed with one codec becomes zeros. For tests alone, which prove that
// scores are read from the packed cache. Included by *_test.cc.

#include <algorithm>
#include <memory>

#include "backend/forwarding_backend.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace kvpareto {

// Does what another backend does, but for pack().
class ValuelessBackend : public ForwardingBackend {
 public:
  ValuelessBackend(std::unique_ptr<Backend> inner, Codec emptied)
      : ForwardingBackend(std::move(inner)), emptied_(emptied) {}

  void pack(Tensor x, int64_t first, const PackedSide& side) override {
    if (side.codec == emptied_) {
      rows_ += x.rows();
      for (int64_t t = 0; t < x.rows(); ++t) std::fill_n(x.row<float>(t), x.columns(), 0.0f);
    }
    inner().pack(x, first, side);
  }

  int64_t rows() const { return rows_; }  // emptied so far

 private:
  Codec emptied_;
  int64_t rows_ = 0;
};

struct ValuelessModel {
  ValuelessModel(const Checkpoint& checkpoint, Codec emptied)
      : backend(std::make_unique<ValuelessBackend>(make_backend("auto"), emptied)),
        model(load_model(checkpoint, *backend)) {}

  int64_t rows() const { return backend->rows(); }

  std::unique_ptr<ValuelessBackend> backend;
  Model model;
};

}  // namespace kvpareto
