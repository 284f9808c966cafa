#pragma once
// A backend that does what another does: the base of those that differ from it in a few operations.

#include <memory>
#include <utility>

#include "backend/backend.h"

namespace kvpareto {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  DType activation() const override { return inner_->activation(); }
  std::optional<MachineLimits> measure_limits() const override { return inner_->measure_limits(); }
  Buffer allocate(size_t bytes, Purpose purpose) override { return inner_->allocate(bytes, purpose); }
  size_t allocated(Purpose purpose) const override { return inner_->allocated(purpose); }
  using Backend::make_linear;
  std::unique_ptr<Linear> make_linear(const LinearSpec& spec, std::span<const WeightSource> sources,
                                      std::span<const float> bias) override {
    return inner_->make_linear(spec, sources, bias);
  }
  size_t linear_bytes(const LinearSpec& spec) const override { return inner_->linear_bytes(spec); }
  bool rounds_inputs(int64_t tokens, const LinearSpec& spec) const override {
    return inner_->rounds_inputs(tokens, spec);
  }
  size_t linear_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    return inner_->linear_scratch_bytes(tokens, spec);
  }
  size_t gated_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    return inner_->gated_scratch_bytes(tokens, spec);
  }
  size_t attend_scratch_bytes(int64_t tokens, int64_t context, int heads, int kv_heads, int head_dim) const override {
    return inner_->attend_scratch_bytes(tokens, context, heads, kv_heads, head_dim);
  }

  void run_step(int64_t tokens, FunctionRef<void()> body) override { inner_->run_step(tokens, body); }
  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override {
    inner_->embed(table, tokens, out);
  }
  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override {
    inner_->rms_norm(x, weight, epsilon, out);
  }
  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) override {
    inner_->linear(weight, x, out, accumulate, scratch);
  }
  int64_t best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch) override {
    return inner_->best_row(weight, x, products, scratch);
  }
  size_t best_row_bytes(const Linear& weight) const override { return inner_->best_row_bytes(weight); }
  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override { inner_->product(a, b, out, accumulate); }
  void rope(Tensor x, const float* turns) override { inner_->rope(x, turns); }
  void swiglu(Tensor gate_up, Tensor out) override { inner_->swiglu(gate_up, out); }
  void gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch) override {
    inner_->gated(gate_up, x, out, scratch);
  }
  void transform(Tensor x, bool rotate, const float* offset) override { inner_->transform(x, rotate, offset); }
  void pack(Tensor x, int64_t first, const PackedSide& side) override { inner_->pack(x, first, side); }
  void freeze(const PackedSide& side, bool find_mean) override { inner_->freeze(side, find_mean); }
  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor scratch) override {
    inner_->attend(queries, first, keys, values, kv_heads, out, scratch);
  }

 protected:
  Backend& inner() { return *inner_; }
  void* obtain(size_t bytes) override { return inner_->obtain(bytes); }
  void give_up(void* data, size_t bytes) override { inner_->give_up(data, bytes); }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace kvpareto
