#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "backend/cpu/dense.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/machine_limits.h"
#include "backend/host_memory.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

// Queries of one step from which on a block of them shares each decoded tile.
constexpr int64_t kBlockQueries = 8;

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const std::string& set)
      : set_(set),
        kernels_(cpu_kernels(set)),
        activation_(set.ends_with("bf16") ? DType::kBf16 : DType::kF32),
        linears_(set, activation_) {}

  std::string name() const override { return "cpu/" + set_; }
  DType activation() const override { return activation_; }
  std::optional<MachineLimits> measure_limits() const override {
    return MachineLimits{read_bandwidth(thread_count()), f32_peak(set_.c_str()), bf16_peak(set_.c_str())};
  }

  using Backend::make_linear;
  std::unique_ptr<Linear> make_linear(const LinearSpec& spec, std::span<const WeightSource> sources,
                                      std::span<const float> bias) override {
    return make_host_linear(*this, spec, sources, bias);
  }
  size_t linear_bytes(const LinearSpec& spec) const override { return host_linear_bytes(spec); }
  bool rounds_inputs(int64_t tokens, const LinearSpec& spec) const override {
    return linears_.rounds_inputs(tokens, spec);
  }
  size_t gated_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    if (!linears_.fuses_gate(tokens, spec)) return Backend::gated_scratch_bytes(tokens, spec);
    return std::max(linears_.fused_scratch_bytes(tokens, spec),
                    Backend::gated_scratch_bytes(CpuLinears::kFewTokens, spec));
  }
  size_t linear_scratch_bytes(int64_t tokens, const LinearSpec& spec) const override {
    return linears_.scratch_bytes(tokens, spec);
  }

  // Steps of few tokens use oneDNN nowhere.
  void run_step(int64_t tokens, FunctionRef<void()> body) override {
    tokens > CpuLinears::kFewTokens ? body() : keep_together(body);
  }

  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override {
    linears_.embed(static_cast<const HostLinear&>(table), tokens, out);
  }

  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override {
    parallel_ranges(x.rows(), kRowsAThread, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        kernels_.rms_norm(x.row<float>(t), weight, epsilon, x.columns(), out.slice(t, 1));
    });
  }

  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor scratch) override {
    linears_.multiply(static_cast<const HostLinear&>(weight), x, out, accumulate, scratch);
  }

  int64_t best_row(const Linear& weight, Tensor x, Tensor products, Tensor scratch) override {
    return linears_.best_row(static_cast<const HostLinear&>(weight), x, products, scratch);
  }
  size_t best_row_bytes(const Linear& weight) const override {
    return linears_.best_row_bytes(static_cast<const HostLinear&>(weight));
  }

  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override {
    const int64_t m = a.rows(), n = b.rows(), k = a.columns();
    Dense& dense = a.type == DType::kF32 ? exact_ : rounded_;
    std::vector<char> first, second, scratch(dense.scratch_bytes(m, n, k));
    dense.run(contiguous(a, first), contiguous(b, second), nullptr, out.as<float>(), out.row_stride, m, n, k,
              accumulate, scratch.data());
  }

  void rope(Tensor x, const float* turns) override {
    const int64_t half = x.shape[2] / 2;
    parallel_ranges(x.rows(), kRowsAThread, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float* cosines = turns + 2 * t * half;
        for (int64_t h = 0; h < x.shape[1]; ++h)
          kernels_.rope(x.row<float>(t) + h * x.shape[2], cosines, cosines + half, half);
      }
    });
  }

  void gated(const Linear& gate_up, Tensor x, Tensor out, Tensor scratch) override {
    if (!linears_.fuses_gate(x.rows(), gate_up.spec())) return Backend::gated(gate_up, x, out, scratch);
    linears_.multiply_gated(static_cast<const HostLinear&>(gate_up), x, out, scratch);
  }
  void swiglu(Tensor gate_up, Tensor out) override {
    const int64_t n = out.columns();
    parallel_ranges(out.rows(), kRowsAThread, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels_.swiglu(gate_up.row<float>(t), gate_up.row<float>(t) + n, n, out.slice(t, 1));
      }
    });
  }

  void transform(Tensor x, bool rotate, const float* offset) override {
    const int64_t d = x.shape[2];
    parallel_ranges(x.rows(), kRowsAThread, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t h = 0; h < x.shape[1]; ++h) {
          kernels_.transform(x.row<float>(t) + h * d, d, rotate, offset == nullptr ? nullptr : offset + h * d);
        }
      }
    });
  }

  void pack(Tensor x, int64_t first, const PackedSide& side) override {
    if (side.direct()) return pack_each(x, first, side);
    // A head's tail fills and empties token by token, so heads are what can go side by side.
    const auto pack_head = [&](int64_t head) {
      int64_t closed = side.closed;
      close_due(side, head, first, closed);
      for (int64_t t = 0; t < x.rows(); ++t) {
        const int64_t token = first + t - side.sinks;
        bf16* row = token < 0 ? side.sink_row(head, first + t) : side.tail_row(head, token);
        kernels_.to_bf16(x.row<float>(t) + head * side.head_dim, side.head_dim, row);
        if (token >= 0) close_due(side, head, first + t + 1, closed);
      }
    };
    // One thread copies a row faster than others wake.
    const bool one_row = x.rows() == 1 && (side.closing() == 1 || !is_due(side, first + 1));
    if (!one_row) return parallel_for(side.kv_heads, pack_head);
    for (int64_t head = 0; head < side.kv_heads; ++head) pack_head(head);
  }

  void freeze(const PackedSide& side, bool find_mean) override { freeze_side(side, find_mean); }

  size_t attend_scratch_bytes(int64_t tokens, int64_t context, int heads, int kv_heads, int head_dim) const override {
    const int group = heads / kv_heads;
    const int64_t partials =
        std::min(tokens, kBlockQueries) * kv_heads * most_splits(context) * partial_size(group, head_dim);
    const int64_t split = thread_count() * split_scratch(group, head_dim) + partials;
    const int64_t block =
        tokens < kBlockQueries ? 0 : thread_count() * block_scratch(group, head_dim, kernels_.block_rows);
    return padded(static_cast<size_t>(std::max(split, block)) * sizeof(float));
  }

  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor scratch) override {
    const auto heads = static_cast<int>(queries.shape[1]), head_dim = static_cast<int>(queries.shape[2]);
    const int group = heads / kv_heads;
    const AttendJob job{queries,  out,      first,
                        keys,     values,   heads,
                        kv_heads, head_dim, queries_per_block(queries.rows(), group, kv_heads)};
    auto* space = static_cast<float*>(scratch.data);
    if (queries.rows() >= kBlockQueries) return attend_blocks(job, space);

    const int64_t splits = split_count(first + queries.rows()), size = partial_size(group, head_dim);
    float* tiles = space + queries.rows() * kv_heads * splits * size;
    const int64_t items = queries.rows() * kv_heads * splits;
    // Splits that lie behind one another stay together: another piece of them costs a thread 2 to 5 us, and what the
    // memory was told of behind the end of one, the next one reads.
    parallel_ranges(items, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin, next; item < end; item = next) {
        const int64_t row = item / splits, skipped = row * splits;
        next = std::min(end, skipped + splits);
        kernels_.attend_splits(job,
                               {row % kv_heads, row / kv_heads, item - skipped, next - skipped, space + item * size},
                               tiles + thread_number() * split_scratch(group, head_dim));
      }
    });
    for (int64_t query = 0; query < queries.rows(); ++query) {
      for (int64_t head = 0; head < kv_heads; ++head) {
        kernels_.join_splits(job, head, query, space + (query * kv_heads + head) * splits * size, splits);
      }
    }
  }

 protected:
  void* obtain(size_t bytes) override { return obtain_pages(bytes); }
  void give_up(void* data, size_t bytes) override { give_up_pages(data, bytes); }

 private:
  static constexpr int64_t kRowsAThread = 4;
  static constexpr int kFewestRows = 96;  // of a block of queries that is made smaller

  // The rows one after another: as they are, or copied to `space`.
  static const void* contiguous(Tensor x, std::vector<char>& space) {
    if (x.row_stride == x.columns()) return x.data;
    const auto bytes = static_cast<int64_t>(bytes_of(x.type)) * x.columns();
    space.resize(static_cast<size_t>(x.rows() * bytes));
    parallel_ranges(x.rows(), 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        std::memcpy(space.data() + r * bytes, x.slice(r, 1).data, static_cast<size_t>(bytes));
    });
    return space.data();
  }

  // Whether something of the tail is packed once the sequence has `tokens`.
  static bool is_due(const PackedSide& side, int64_t tokens) {
    return side.tail_rows > 0 && side.closed < side.due_now(tokens);
  }

  // Tokens that are packed as they come, behind what a tail that was needed until now still holds.
  void pack_each(Tensor x, int64_t first, const PackedSide& side) {
    if (is_due(side, first)) {
      parallel_for(side.kv_heads, [&](int64_t head) {
        int64_t closed = side.closed;
        close_due(side, head, first, closed);
      });
    }
    // Tokens that share a chunk of codes stay with one thread.
    const int64_t behind = first - side.sinks, skipped = ((behind % kLanes) + kLanes) % kLanes;
    parallel_ranges(skipped + x.rows(), kLanes, [&](int64_t begin, int64_t end) {
      for (int64_t t = std::max<int64_t>(begin - skipped, 0); t < end - skipped; ++t) {
        for (int64_t head = 0; head < x.shape[1]; ++head) {
          const float* row = x.row<float>(t) + head * x.shape[2];
          const int64_t token = behind + t;
          if (token < 0) {
            kernels_.to_bf16(row, side.head_dim, side.sink_row(head, first + t));
          } else {
            count_clamped(side, kernels_.encode(side, head, token, row));
          }
        }
      }
    });
  }

  static void count_clamped(const PackedSide& side, int64_t count) {
    if (count > 0) std::atomic_ref<int64_t>(*side.clamped).fetch_add(count, std::memory_order_relaxed);
  }

  // Packs what may be packed of one head's tail once the sequence has `tokens`.
  void close_due(const PackedSide& side, int64_t head, int64_t tokens, int64_t& closed) {
    for (const int64_t due = side.due_now(tokens); closed < due; closed += side.closing()) {
      if (side.closing() > 1) {
        kernels_.encode_span(side, head, closed);
        continue;
      }
      float row[kLargestHead];
      kernels_.to_f32(side.tail_row(head, closed), side.head_dim, row);
      count_clamped(side, kernels_.encode(side, head, closed, row));
    }
  }

  static int64_t split_count(int64_t keys) { return (keys + split_size(keys) - 1) / split_size(keys); }

  // Of any length up to `context`: 8192 keys are 16 pieces, 8193 only 15, as pieces are whole tiles.
  static int64_t most_splits(int64_t context) {
    return std::min(kMostSplits, (context + kSmallestSplit - 1) / kSmallestSplit);
  }

  // As many as the kernels like, or fewer, so that every thread has some blocks: what comes out is the same.
  int queries_per_block(int64_t tokens, int group, int kv_heads) const {
    int rows = kernels_.block_rows;
    const auto blocks = [&] { return (tokens + query_block(group, rows) - 1) / query_block(group, rows) * kv_heads; };
    while (rows > kFewestRows && blocks() < 4 * thread_count()) rows /= 2;
    return query_block(group, rows);
  }

  void attend_blocks(const AttendJob& job, float* space) {
    const int64_t blocks = (job.queries.rows() + job.queries_per_block - 1) / job.queries_per_block;
    // The last block has the most keys: first, so that no thread is left alone with it.
    parallel_for(blocks * job.kv_heads, [&](int64_t item) {
      const int64_t head = item % job.kv_heads, begin = (blocks - 1 - item / job.kv_heads) * job.queries_per_block;
      const int64_t count = std::min<int64_t>(job.queries_per_block, job.queries.rows() - begin);
      kernels_.attend_block(job, head, begin, count,
                            space + thread_number() * block_scratch(job.group(), job.head_dim, kernels_.block_rows));
    });
  }

  std::string set_;
  const CpuKernels& kernels_;
  DType activation_;
  CpuLinears linears_;
  Dense exact_{DType::kF32}, rounded_{DType::kBf16};  // of product()
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const std::string& instruction_set) {
  return std::make_unique<CpuBackend>(instruction_set);
}

}  // namespace kvpareto
