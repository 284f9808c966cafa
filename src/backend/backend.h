#pragma once
// The operations a decoder needs, declared once. reference/ is the specification (plain loops, sums in double); every
// other backend is tested against it on the same cases (backend/contract_test.cc).
//
// To add a backend: a folder, a line in the list of backends.cc.
// All tensors are row-major; x is f32 unless said otherwise; "activation" is the type that linear() takes, see
// activation().

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/linear_spec.h"
#include "backend/packed_side.h"
#include "base/function_ref.h"
#include "tensor/tensor.h"

namespace kvpareto {

// What bytes are for; the parts of the memory report.
enum class Purpose { kWeights, kKv, kScratch, kLogits };
inline constexpr int kPurposes = 4;

// A weight matrix [rows, columns] in whatever form the backend multiplies by, with an optional bias [rows].
class Linear {
 public:
  virtual ~Linear() = default;
  virtual const LinearSpec& spec() const = 0;
  virtual size_t bytes() const = 0;  // as allocated, bias included
  int64_t rows() const { return spec().rows(); }
  int64_t columns() const { return spec().columns; }
};

// What the machine can do at most with the threads it is given: the scale beside which rates are printed.
struct MachineLimits {
  double read_bytes;       // a second, from memory
  double f32_operations;   // a second; a multiply-add counts as two
  double bf16_operations;  // products of bf16, sums in f32
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // "cpu/avx512_bf16", "reference"
  virtual DType activation() const = 0;
  // Measured now, in a fraction of a second; a shared machine changes by the minute. Empty where nothing is to be
  // compared with.
  virtual std::optional<MachineLimits> measure_limits() const { return {}; }

  // --- memory: counted by purpose, zeroed, 64-byte aligned; sizes are rounded up to 64 bytes, as predicted by
  // padded(). Throws Error (kNoMemory) naming purpose and bytes.
  virtual Buffer allocate(size_t bytes, Purpose purpose);
  virtual size_t allocated(Purpose purpose) const { return allocated_[static_cast<size_t>(purpose)]; }
  static constexpr size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

  // --- weights
  // One source for each part of the spec; bias f32 [rows], empty if the spec has none. Columns are a multiple of each
  // part's unit.
  virtual std::unique_ptr<Linear> make_linear(const LinearSpec& spec, std::span<const WeightSource> sources,
                                              std::span<const float> bias) = 0;
  virtual size_t linear_bytes(const LinearSpec& spec) const = 0;
  // Scratch that linear() needs for up to `tokens` rows of x.
  virtual size_t linear_scratch_bytes(int64_t tokens, const LinearSpec& spec) const = 0;
  // Scratch that gated() needs for up to `tokens` rows of x.
  virtual size_t gated_scratch_bytes(int64_t tokens, const LinearSpec& spec) const;
  // Whether linear() rounds so many rows of x to int8 where the spec lets it (round_inputs() of host_linear.h).
  virtual bool rounds_inputs(int64_t tokens, const LinearSpec& spec) const = 0;
  // The same of bf16.
  std::unique_ptr<Linear> make_linear(int64_t rows, int64_t columns, const RowReader& weight,
                                      std::span<const float> bias) {
    const WeightSource source = weight;
    return make_linear(bf16_spec(rows, columns, !bias.empty()), {&source, 1}, bias);
  }

  // Calls body(), all operations of one step of so many tokens: a backend may keep its threads at hand meanwhile.
  virtual void run_step(int64_t /*tokens*/, FunctionRef<void()> body) { body(); }

  // --- operations
  // out f32 [tokens, columns]: rows of the table.
  virtual void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) = 0;
  // out [tokens, n] (f32 or activation) = x / sqrt(mean(x^2) + epsilon) * weight (arXiv 1910.07467); out may be x.
  virtual void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) = 0;
  // out f32 [tokens, rows] = x [tokens, columns] W^T + bias; `accumulate` adds to what out holds. x is rounded to
  // int8 first where rounds_inputs() says so.
  virtual void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) = 0;
  // The row of the weight whose product with x [1, columns] is the largest, the first of equals; `products` f32 [1,
  // rows] is space. A backend may leave out rows whose bound falls short, which is wrong with the probability that
  // HighBits of cpu/linear_kernels.h states. Scratch is that of linear().
  virtual int64_t best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch);
  // Bytes of the weight that best_row() reads at least.
  virtual size_t best_row_bytes(const Linear& weight) const { return weight.bytes(); }
  // out f32 [m, n] = a [m, k] b [n, k]^T, both f32 or both of the activation's type, sums of at least f32;
  // `accumulate` adds to what out holds. For preparing weights: takes scratch of its own.
  virtual void product(Tensor a, Tensor b, Tensor out, bool accumulate) = 0;
  // Rotates x f32 [tokens, heads, head_dim] in place, half-split pairs (c, c + head_dim/2) (arXiv 2104.09864); `turns`
  // f32 [tokens, 2, head_dim/2] holds cosines, then sines.
  virtual void rope(Tensor x, const float* turns) = 0;
  // out (activation) [tokens, n] = silu(gate) * up with gate_up f32 [tokens, 2n], gate first (arXiv 2002.05202); n a
  // multiple of 16.
  virtual void swiglu(Tensor gate_up, Tensor out) = 0;
  // linear() and swiglu() in one: out (activation) [tokens, n] of a weight [2n, columns], gate first. A backend may
  // keep gate and up from ever being in memory.
  virtual void gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch);
  // x f32 [tokens, heads, head_dim] in place: each head rotated (Hadamard) if asked, then less `offset` f32 [heads,
  // head_dim] if that is not null.
  virtual void transform(Tensor x, bool rotate, const float* offset) = 0;
  // Stores x f32 [tokens, kv_heads, head_dim] as tokens [first, first + tokens) of the side: packed, or exact where the
  // side says so, and packs what is due; store_rows() of packed_side.h is the specification.
  virtual void pack(Tensor x, int64_t first, const PackedSide& side) = 0;
  // freeze_side() of packed_side.h.
  virtual void freeze(const PackedSide& side, bool find_mean) = 0;
  // out [tokens, heads, head_dim] (f32 or activation) = softmax(q k^T / sqrt(head_dim)) v over stored tokens 0 .. of
  // each query's position, k and v as decode_row() and restore_values() give them; queries f32 are positions [first,
  // first + tokens). heads is a multiple of kv_heads, neighbours share.
  virtual void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads,
                      Tensor out, Tensor scratch) = 0;
  // Scratch of attend() for up to `tokens` queries against up to `context` keys: tiles, never tokens * context.
  virtual size_t attend_scratch_bytes(int64_t tokens, int64_t context, int heads, int kv_heads, int head_dim) const = 0;

 protected:
  virtual void* obtain(size_t bytes) = 0;  // zeroed; null if there is none
  virtual void give_up(void* data, size_t bytes) = 0;

 private:
  friend class ForwardingBackend;
  void free_counted(void* data, size_t bytes, size_t kind);
  size_t allocated_[kPurposes] = {};
};

// Names the user can force ("reference", "portable", "avx2", "avx512", "avx512_bf16", "amx_bf16"), those that this
// machine can run, best last.
std::vector<std::string> backend_names();
// "auto" or empty is the best one. Throws Error (kUsage) with the nearest valid name.
std::unique_ptr<Backend> make_backend(const std::string& name);
// Keeps the libraries beneath to what a forced backend may use. Holds for the whole process, so a program that was told
// --backend calls it once, first; tests that run every backend in one process do not.
void confine_libraries(const std::string& name);
// Processor, instruction set and threads, for provenance: "Intel Xeon, avx512_bf16, 2 threads".
std::string device_text(const Backend& backend);

}  // namespace kvpareto
