#pragma once
// A backend that times another: every operation is passed on, and its time, arithmetic and memory traffic are added up.

#include <chrono>
#include <map>
#include <vector>

#include "backend/backend.h"

namespace kvpareto {

// All calls of one operation; linears and attention are told apart by their sizes.
struct ProfilePart {
  std::string name;  // "linear 960x576", "attend"
  int64_t calls = 0;
  double seconds = 0;
  double operations = 0;  // a multiply-add counts as two; 0 where moving bytes is the work
  double bytes = 0;       // weights, stored keys and values, rows in and out; each counted once a call
};

class ProfiledBackend : public Backend {
 public:
  explicit ProfiledBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  // What has been timed since the last call, most time first.
  std::vector<ProfilePart> take_parts();

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
  size_t linear_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    return inner_->linear_scratch_bytes(tokens, spec);
  }
  size_t attend_scratch_bytes(int64_t tokens, int64_t context, int heads, int kv_heads, int head_dim) const override {
    return inner_->attend_scratch_bytes(tokens, context, heads, kv_heads, head_dim);
  }

  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override;
  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override;
  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) override;
  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override;
  void rope(Tensor x, const float* turns) override;
  void swiglu(Tensor gate_up, Tensor out) override;
  void transform(Tensor x, bool rotate, const float* offset) override;
  void pack(Tensor x, int64_t first, const PackedSide& side) override;
  void freeze(const PackedSide& side, bool find_mean) override;
  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor scratch) override;

 protected:
  void* obtain(size_t bytes) override { return inner_->obtain(bytes); }
  void give_up(void* data, size_t bytes) override { inner_->give_up(data, bytes); }

 private:
  template <typename Operation>
  void timed(const std::string& name, double operations, double bytes, const Operation& operation);

  std::unique_ptr<Backend> inner_;
  std::map<std::string, ProfilePart> parts_;
};

}  // namespace kvpareto
