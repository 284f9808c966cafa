#include "backend/cpu/dense.h"

#include <algorithm>
#include <bit>
#include <dnnl.hpp>
#include <map>
#include <tuple>

#include "base/parallel.h"

namespace kvpareto {
namespace {

using dnnl::memory;

// Primitives that are kept, of some 100 KB each: a prompt's last chunk may have any number of tokens. Making one takes
// a third of a millisecond.
constexpr size_t kMostProducts = 64;

// Everything a primitive is specialised for. Threads count: oneDNN cuts the work when it makes one.
struct Shape {
  int64_t tokens, rows, columns, out_stride;
  bool bias, accumulate;
  int threads;
  auto operator<=>(const Shape&) const = default;
};

}  // namespace

struct Dense::Parts {
  memory::data_type type;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  mutable std::map<Shape, dnnl::matmul::primitive_desc> plans;  // of all products, and more
  std::map<Shape, dnnl::matmul> products;

  const dnnl::matmul::primitive_desc& plan(const Shape& s) const {
    const auto found = plans.find(s);
    if (found != plans.end()) return found->second;
    // The weight stays [rows, columns], one row after another, as decoding reads it: a transposed view for oneDNN.
    const memory::desc x({s.tokens, s.columns}, type, memory::format_tag::ab);
    const memory::desc weight({s.columns, s.rows}, type, memory::format_tag::ba);
    const memory::desc bias({1, s.rows}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc out({s.tokens, s.rows}, memory::data_type::f32, memory::dims{s.out_stride, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (s.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::desc description =
        s.bias ? dnnl::matmul::desc(x, weight, bias, out) : dnnl::matmul::desc(x, weight, out);
    return plans.emplace(s, dnnl::matmul::primitive_desc(description, attributes, engine)).first->second;
  }
  size_t scratch_bytes(const Shape& s) const { return plan(s).scratchpad_desc().get_size(); }

  bool knows(const Shape& s) const { return products.contains(s); }
  const dnnl::matmul& product(const Shape& s) {
    const auto found = products.find(s);
    if (found != products.end()) return found->second;
    if (products.size() == kMostProducts) {
      products.clear();
      plans.clear();
    }
    return products.emplace(s, dnnl::matmul(plan(s))).first->second;
  }
};

void confine_dense(const std::string& instruction_set) {
  if (instruction_set == "avx2") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  if (instruction_set == "avx512") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_vnni);
  if (instruction_set == "avx512_bf16") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
  if (instruction_set == "portable") dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
}

Dense::Dense(DType type) : parts_(std::make_unique<Parts>()) {
  dnnl::set_primitive_cache_capacity(0);  // Parts::products is one
  parts_->type = type == DType::kBf16 ? memory::data_type::bf16 : memory::data_type::f32;
}
Dense::~Dense() = default;

size_t Dense::scratch_bytes(int64_t tokens, int64_t rows, int64_t columns) const {
  size_t most = 0;
  for (const int64_t stride : {rows, 2 * rows}) {  // rows that stand apart are another implementation's work
    for (const auto& [bias, accumulate] : {std::pair{false, false}, {true, false}, {false, true}}) {
      for (int64_t piece = 1; piece < 2 * tokens; piece *= 2) {
        most = std::max(most, parts_->scratch_bytes({piece, rows, columns, stride, bias, accumulate, thread_count()}));
      }
    }
  }
  return most;
}

void Dense::run(const void* x, const void* weight, const float* bias, float* out, int64_t out_stride, int64_t tokens,
                int64_t rows, int64_t columns, bool accumulate, void* scratch) {
  // For both at once oneDNN wants scratch as large as the result.
  if (bias != nullptr && accumulate) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < rows; ++r) out[t * out_stride + r] += bias[r];
    }
    bias = nullptr;
  }
  const Shape shape{tokens, rows, columns, out_stride, bias != nullptr, accumulate, thread_count()};
  // Between two powers of two oneDNN may ask for more than at both, with many threads.
  const auto first = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tokens)));
  if (first < tokens && !parts_->knows(shape) && parts_->scratch_bytes(shape) > scratch_bytes(tokens, rows, columns)) {
    const auto bytes = static_cast<int64_t>(memory::data_type_size(parts_->type));
    run(x, weight, bias, out, out_stride, first, rows, columns, accumulate, scratch);
    run(static_cast<const char*>(x) + first * columns * bytes, weight, bias, out + first * out_stride, out_stride,
        tokens - first, rows, columns, accumulate, scratch);
    return;
  }
  const dnnl::matmul& product = parts_->product(shape);
  const dnnl::matmul::primitive_desc& plan = parts_->plan(shape);
  const auto view = [&](const memory::desc& desc, const void* data) {
    return memory(desc, parts_->engine, const_cast<void*>(data));
  };
  std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, view(plan.src_desc(), x)},
                                               {DNNL_ARG_WEIGHTS, view(plan.weights_desc(), weight)},
                                               {DNNL_ARG_DST, view(plan.dst_desc(), out)},
                                               {DNNL_ARG_SCRATCHPAD, view(plan.scratchpad_desc(), scratch)}};
  if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, view(plan.bias_desc(), bias));
  product.execute(parts_->stream, arguments);
  parts_->stream.wait();
}

}  // namespace kvpareto
