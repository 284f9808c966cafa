#pragma once
// A backend that times another: every operation is passed on, and its time, arithmetic and memory traffic are added up.

#include <chrono>
#include <map>
#include <vector>

#include "backend/forwarding_backend.h"

namespace kvpareto {

// All calls of one operation; linears and attention are told apart by their sizes.
struct ProfilePart {
  std::string name;  // "linear 960x576", "attend"
  int64_t calls = 0;
  double seconds = 0;
  double operations = 0;  // a multiply-add counts as two; 0 where moving bytes is the work
  double bytes = 0;       // weights, stored keys and values, rows in and out; each counted once a call
};

class ProfiledBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  // What has been timed since the last call, most time first.
  std::vector<ProfilePart> take_parts();

  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override;
  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override;
  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) override;
  int64_t best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch) override;
  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override;
  void rope(Tensor x, const float* turns) override;
  void swiglu(Tensor gate_up, Tensor out) override;
  void gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch) override;
  void transform(Tensor x, bool rotate, const float* offset) override;
  void pack(Tensor x, int64_t first, const PackedSide& side) override;
  void freeze(const PackedSide& side, bool find_mean) override;
  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor scratch) override;

 private:
  template <typename Operation>
  void timed(const std::string& name, double operations, double bytes, const Operation& operation);

  std::map<std::string, ProfilePart> parts_;
};

}  // namespace kvpareto
