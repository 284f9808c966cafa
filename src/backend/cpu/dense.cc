#include "backend/cpu/dense.h"

#include <algorithm>
#include <dnnl.hpp>
#include <map>
#include <tuple>

#include "base/parallel.h"

namespace kvpareto {
namespace {

using dnnl::memory;

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
  mutable std::map<Shape, dnnl::matmul::primitive_desc> plans;
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
};

void confine_dense(const std::string& instruction_set) {
  if (instruction_set == "avx2") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  if (instruction_set == "avx512") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_vnni);
  if (instruction_set == "avx512_bf16") dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
  if (instruction_set == "portable") dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
}

Dense::Dense(DType type) : parts_(std::make_unique<Parts>()) {
  parts_->type = type == DType::kBf16 ? memory::data_type::bf16 : memory::data_type::f32;
}
Dense::~Dense() = default;

size_t Dense::scratch_bytes(int64_t tokens, int64_t rows, int64_t columns) const {
  size_t most = 0;
  for (const int64_t stride : {rows, 2 * rows}) {  // rows that stand apart are another implementation's work
    for (const auto& [bias, accumulate] : {std::pair{false, false}, {true, false}, {false, true}}) {
      const Shape shape{tokens, rows, columns, stride, bias, accumulate, thread_count()};
      most = std::max(most, parts_->plan(shape).scratchpad_desc().get_size());
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
  const dnnl::matmul::primitive_desc& plan = parts_->plan(shape);
  auto found = parts_->products.find(shape);
  if (found == parts_->products.end()) found = parts_->products.emplace(shape, dnnl::matmul(plan)).first;
  const auto view = [&](const memory::desc& desc, const void* data) {
    return memory(desc, parts_->engine, const_cast<void*>(data));
  };
  std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, view(plan.src_desc(), x)},
                                               {DNNL_ARG_WEIGHTS, view(plan.weights_desc(), weight)},
                                               {DNNL_ARG_DST, view(plan.dst_desc(), out)},
                                               {DNNL_ARG_SCRATCHPAD, view(plan.scratchpad_desc(), scratch)}};
  if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, view(plan.bias_desc(), bias));
  found->second.execute(parts_->stream, arguments);
  parts_->stream.wait();
}

}  // namespace kvpareto
