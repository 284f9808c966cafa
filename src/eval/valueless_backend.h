#pragma once
// A backend whose caches hold no values: what is packed with one codec becomes zeros. For tests alone, which prove that
// scores are read from the packed cache. Included by *_test.cc.

#include <algorithm>
#include <memory>

#include "backend/backend.h"
#include "backend/host_memory.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace kvpareto {

// Does what another backend does, but for pack().
class ValuelessBackend : public Backend {
 public:
  ValuelessBackend(std::unique_ptr<Backend> inner, Codec emptied) : inner_(std::move(inner)), emptied_(emptied) {}

  std::string name() const override { return inner_->name(); }
  DType activation() const override { return inner_->activation(); }
  using Backend::make_linear;
  std::unique_ptr<Linear> make_linear(const LinearSpec& spec, std::span<const WeightSource> sources,
                                      std::span<const float> bias) override {
    return inner_->make_linear(spec, sources, bias);
  }
  size_t linear_bytes(const LinearSpec& spec) const override { return inner_->linear_bytes(spec); }
  size_t linear_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    return inner_->linear_scratch_bytes(tokens, spec);
  }
  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override {
    inner_->embed(table, tokens, out);
  }
  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override {
    inner_->rms_norm(x, weight, epsilon, out);
  }
  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) override {
    inner_->linear(weight, x, out, accumulate, scratch);
  }
  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override { inner_->product(a, b, out, accumulate); }
  void rope(Tensor x, const float* turns) override { inner_->rope(x, turns); }
  void swiglu(Tensor gate_up, Tensor out) override { inner_->swiglu(gate_up, out); }
  void transform(Tensor x, bool rotate, const float* offset) override { inner_->transform(x, rotate, offset); }
  void pack(Tensor x, int64_t first, const PackedSide& side) override {
    if (side.codec == emptied_) {
      rows_ += x.rows();
      for (int64_t t = 0; t < x.rows(); ++t) std::fill_n(x.row<float>(t), x.columns(), 0.0f);
    }
    inner_->pack(x, first, side);
  }
  void freeze(const PackedSide& side, bool find_mean) override { inner_->freeze(side, find_mean); }
  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor scratch) override {
    inner_->attend(queries, first, keys, values, kv_heads, out, scratch);
  }
  size_t attend_scratch_bytes(int64_t tokens, int64_t context, int heads, int kv_heads, int head_dim) const override {
    return inner_->attend_scratch_bytes(tokens, context, heads, kv_heads, head_dim);
  }

  int64_t rows() const { return rows_; }  // emptied so far

 protected:
  void* obtain(size_t bytes) override { return obtain_pages(bytes); }
  void give_up(void* data, size_t bytes) override { give_up_pages(data, bytes); }

 private:
  std::unique_ptr<Backend> inner_;
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
