#pragma once
// Products of the CPU by weights of every format: bf16 by oneDNN or row by row, quantized ones by the kernels of
// linear_kernels.h, on inputs rounded to int8 or not.

#include "backend/cpu/dense.h"
#include "backend/cpu/kernels.h"
#include "backend/host_linear.h"

namespace kvpareto {

class CpuLinears {
 public:
  CpuLinears(const std::string& instruction_set, DType activation)
      : kernels_(cpu_kernels(instruction_set)),
        linear_kernels_(cpu_linear_kernels(instruction_set)),
        activation_(activation),
        tiles_(instruction_set == "amx_bf16"),
        dense_(activation) {}

  size_t scratch_bytes(int64_t tokens, const LinearSpec& spec) const;
  // Backend::rounds_inputs().
  bool rounds_inputs(int64_t tokens, const LinearSpec& spec) const;
  void embed(const HostLinear& table, std::span<const int32_t> tokens, Tensor out) const;
  // Whether gate, up and SwiGLU are one kernel, and what that takes and does: Backend::gated().
  bool fuses_gate(int64_t tokens, const LinearSpec& spec) const;
  size_t fused_scratch_bytes(int64_t tokens, const LinearSpec& spec) const;
  void multiply_gated(const HostLinear& gate_up, Tensor x, Tensor out, Tensor scratch) const;
  // Most tokens that read weights row by row.
  static constexpr int64_t kFewTokens = 15;
  // Backend::linear().
  void multiply(const HostLinear& matrix, Tensor x, Tensor out, bool accumulate, Tensor scratch);
  // Backend::best_row(), and whether it leaves rows out.
  int64_t best_row(const HostLinear& matrix, Tensor x, Tensor products, Tensor scratch);
  size_t best_row_bytes(const HostLinear& matrix) const;

 private:
  // One segment of a matrix and where its results go.
  struct Product {
    const WeightSegment& weight;
    const float* bias;  // of its first row; null if there is none
    bool accumulate;
    Tensor x, out;  // out: the columns of the segment
    void* scratch;
  };

  bool uses_tiles(int64_t tokens, int64_t columns) const;
  bool bounds_rows(const HostLinear& matrix) const;
  bool rounds(const LinearSpec& spec, const LinearSpec::Part& part) const;
  // Whether oneDNN multiplies by a weight as it is.
  bool takes_directly(const WeightFormat& format) const;
  size_t dense_scratch_bytes(int64_t tokens, const LinearSpec::Part& part, int64_t columns) const;
  void many_rows(const Product& product);
  void few_rows(const Product& product) const;
  void int8_rows(const Product& product) const;
  void int8_gated(const HostLinear& gate_up, Tensor x, Tensor out, void* scratch) const;
  PanelJob rounded(Tensor x, const WeightFormat& format, char* place) const;
  void run_panels(const PanelJob& job, decltype(LinearKernels::panels_int8) kernel, float* scratch) const;
  const void* widen(const Product& product, int64_t first, int64_t rows, void* to, float* scratch) const;

  const CpuKernels& kernels_;
  const LinearKernels& linear_kernels_;
  DType activation_;
  bool tiles_;
  Dense dense_;
};

}  // namespace kvpareto
