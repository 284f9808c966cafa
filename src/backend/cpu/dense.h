#pragma once
// Dense products of 16 rows and more by oneDNN; the only file that knows its API.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace kvpareto {

// Keeps oneDNN to one of cpu_instruction_sets() for the rest of the process; of use only before its first product.
void confine_dense(const std::string& instruction_set);

class Dense {
 public:
  explicit Dense(DType type);  // of both factors; sums are f32
  ~Dense();

  // out f32 [tokens, rows] (+)= x [tokens, columns] weight [rows, columns]^T + bias (f32 [rows] or null), all
  // contiguous but for out, whose rows stand `out_stride` apart.
  void run(const void* x, const void* weight, const float* bias, float* out, int64_t out_stride, int64_t tokens,
           int64_t rows, int64_t columns, bool accumulate, void* scratch);
  // What suffices for up to so many tokens.
  size_t scratch_bytes(int64_t tokens, int64_t rows, int64_t columns) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kvpareto
