// Kernels of the best instruction set of this machine (or of the one in KVPARETO_BENCH_SET), each with its share of
// what the machine can do, measured in the same process just before.
//
//   build/src/kernels_bench --benchmark_min_time=0.1

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/machine_limits.h"
#include "base/parallel.h"
#include "base/random.h"

namespace kvpareto {
namespace {

const std::string& instruction_set() {
  static const std::string set =
      std::getenv("KVPARETO_BENCH_SET") != nullptr ? std::getenv("KVPARETO_BENCH_SET") : cpu_instruction_sets().back();
  return set;
}
Backend& backend() {
  static const std::unique_ptr<Backend> made = make_backend(instruction_set());
  return *made;
}
double f32_limit() {
  static const double peak = f32_peak(instruction_set().c_str());
  return peak;
}
double bf16_limit() {
  static const double peak = bf16_peak(instruction_set().c_str());
  return peak;
}

double int8_limit() {
  static const double peak = int8_peak(instruction_set().c_str());
  return peak;
}

std::vector<float> normals(int64_t n) {
  Random random(1);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = static_cast<float>(random.normal());
  return values;
}

// Times `body` and prints its work a second and the share of `limit` that this is. Returns the seconds of one call.
template <typename Body>
double measure(benchmark::State& state, const char* name, double work, double limit, Body body) {
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) body();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  const double seconds = passed.count() / static_cast<double>(state.iterations());
  state.counters[name] = work / seconds;
  state.counters["of_limit"] = work / seconds / limit;
  return seconds;
}

void limits(benchmark::State& state) {
  for (auto _ : state) {
    state.counters["read_B/s_1"] = read_bandwidth(1);
    state.counters["read_B/s_all"] = read_bandwidth(thread_count());
    state.counters["f32_FLOP/s"] = f32_limit();
    state.counters["bf16_FLOP/s"] = bf16_limit();
    state.counters["int8_OP/s"] = int8_limit();
  }
  state.SetLabel(instruction_set());
}
BENCHMARK(limits)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);

// --- products. As many copies of the weights, taken in turn, as the probe of the bandwidth reads: 256 MB.

struct Product {
  Product(const LinearSpec& spec, int64_t tokens, int copies)
      : x(backend().allocate(static_cast<size_t>(tokens * spec.columns) * 4, Purpose::kScratch)),
        out(backend().allocate(static_cast<size_t>(tokens * spec.rows()) * 4, Purpose::kScratch)),
        scratch(backend().allocate(backend().linear_scratch_bytes(tokens, spec), Purpose::kScratch)) {
    for (int i = 0; i < copies; ++i) weights.push_back(backend().make_linear(spec, {{source(spec)}}, {}));
    const std::vector<float> inputs = normals(tokens * spec.columns);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (backend().activation() == DType::kF32) x.as<float>()[i] = inputs[i];
      if (backend().activation() == DType::kBf16) x.as<bf16>()[i] = to_bf16(inputs[i]);
    }
    in = tensor(x.data(), backend().activation(), tokens, spec.columns);
    result = tensor(out.as<float>(), tokens, spec.rows());
    space = tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / 4));
  }
  void run() { backend().linear(*weights[next++ % weights.size()], in, result, false, space); }
  void choose() { backend().best_row(*weights[next++ % weights.size()], in, result, space); }

  std::vector<std::unique_ptr<Linear>> weights;
  size_t next = 0;
  Buffer x, out, scratch;
  Tensor in, result, space;

 private:
  static WeightSource source(const LinearSpec& spec) {
    const WeightFormat format = spec.parts.front().format;
    if (format.codec == WeightCodec::kBf16) {
      return RowReader([columns = spec.columns, row = normals(spec.columns)](int64_t, int64_t count, float* to) {
        for (int64_t r = 0; r < count; ++r) std::copy_n(row.data(), columns, to + r * columns);
      });
    }
    return UnitReader([format](int64_t row, int64_t unit, WeightUnit& to) {
      Random random(static_cast<uint64_t>(row * 64 + unit));
      for (uint8_t& code : to.codes) code = static_cast<uint8_t>(random.below(uint64_t{1} << format.bits()));
      to.bytes.fill(7);
      to.halves.fill(to_f16(0.01f));
    });
  }
};

// Formats of weights by their place in this list, as benchmarks take numbers.
const std::vector<WeightFormat>& formats() {
  static const std::vector<WeightFormat> list = {{},
                                                 {WeightCodec::kInt8, 128},
                                                 {WeightCodec::kInt8, 32},
                                                 {WeightCodec::kInt4, 128},
                                                 {WeightCodec::kInt4, 64},
                                                 {WeightCodec::kInt4, 32},
                                                 {WeightCodec::kInt3, 128},
                                                 {WeightCodec::kQ4_0, 0},
                                                 {WeightCodec::kQ4_1, 0},
                                                 {WeightCodec::kQ5_0, 0},
                                                 {WeightCodec::kQ8_0, 0},
                                                 {WeightCodec::kQ4K, 0},
                                                 {WeightCodec::kQ5K, 0},
                                                 {WeightCodec::kQ6K, 0},
                                                 {WeightCodec::kInt8Apart, 64},
                                                 {WeightCodec::kInt8Apart, 128},
                                                 {WeightCodec::kQ6KApart, 0}};
  return list;
}
LinearSpec spec_of(int64_t format, int64_t rows, int64_t columns, bool int8) {
  return {.parts = {{formats()[static_cast<size_t>(format)], rows}},
          .columns = columns,
          .activations = int8 ? Activations::kInt8 : Activations::kFloat};
}
std::string label_of(const LinearSpec& spec) {
  const WeightFormat& format = spec.parts.front().format;
  return std::string(info_of(format.codec).name) + (format.group > 0 ? "g" + std::to_string(format.group) : "") +
         (spec.activations == Activations::kInt8 ? " a8" : " a16");
}

// Few tokens: how fast the weights are read.
void decode_product(benchmark::State& state) {
  const LinearSpec spec = spec_of(state.range(0), state.range(1), state.range(2), state.range(4) == 1);
  const auto bytes = static_cast<double>(backend().linear_bytes(spec));
  Product product(spec, state.range(3), static_cast<int>(1 + 1.28e8 / bytes));
  measure(state, "B/s", bytes, read_bandwidth(thread_count()), [&] { product.run(); });
  state.SetLabel(label_of(spec));
}
BENCHMARK(decode_product)
    ->ArgNames({"format", "rows", "columns", "tokens", "int8"})
    ->Args({0, 49152, 576, 1, 0})  // SmolLM2-135M: output head, gate and up, down
    ->Args({0, 3072, 576, 1, 0})
    ->Args({0, 576, 1536, 1, 0})
    ->Args({0, 9728, 896, 1, 0})  // Qwen2.5-0.5B: gate and up
    ->Args({0, 9728, 896, 4, 0})
    ->Args({0, 9728, 896, 8, 0})
    ->ArgsProduct({benchmark::CreateDenseRange(1, 13, 1), {9728}, {1024}, {1}, {0, 1}})
    ->ArgsProduct({{1, 3, 11}, {9728}, {1024}, {2, 4, 8, 15}, {0, 1}})
    ->UseRealTime();

// A greedy choice by a head: how fast the part of it that has to be read is.
void best_row(benchmark::State& state) {
  const LinearSpec spec = spec_of(state.range(0), state.range(1), state.range(2), true);
  const auto copies = static_cast<int>(1 + 1.28e8 / static_cast<double>(backend().linear_bytes(spec)));
  Product product(spec, 1, copies);
  const auto bytes = static_cast<double>(backend().best_row_bytes(*product.weights.front()));
  measure(state, "B/s", bytes, read_bandwidth(thread_count()), [&] { product.choose(); });
  state.SetLabel(label_of(spec));
}
BENCHMARK(best_row)
    ->ArgNames({"format", "rows", "columns"})
    ->Args({14, 49152, 576})    // SmolLM2-135M
    ->Args({15, 151936, 896})   // Qwen2.5-0.5B
    ->Args({16, 151936, 1536})  // Qwen2.5-1.5B, as stored
    ->UseRealTime();

// Many tokens, by bf16 weights.
void dense(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  Product product(bf16_spec(rows, columns, false), tokens, 4);
  product.run();
  measure(state, "FLOP/s", 2.0 * static_cast<double>(rows * columns * tokens),
          backend().activation() == DType::kBf16 ? bf16_limit() : f32_limit(), [&] { product.run(); });
}
BENCHMARK(dense)
    ->ArgNames({"rows", "columns", "tokens"})
    ->ArgsProduct({{960}, {576}, {16, 64, 256}})  // SmolLM2-135M: q, k, v; then gate and up, down
    ->Args({3072, 576, 256})
    ->Args({576, 1536, 256})
    ->Args({1152, 896, 256})  // Qwen2.5-0.5B
    ->Args({9728, 896, 16})
    ->Args({9728, 896, 256})
    ->Args({896, 4864, 256})
    ->UseRealTime();

// Many tokens, by quantized weights; the limit is that of products of bytes, or of floats where inputs are floats.
void quantized_dense(benchmark::State& state) {
  const LinearSpec spec = spec_of(state.range(0), state.range(1), state.range(2), state.range(4) == 1);
  const int64_t tokens = state.range(3);
  Product product(spec, tokens, 2);
  product.run();
  const double float_limit = backend().activation() == DType::kBf16 ? bf16_limit() : f32_limit();
  measure(state, "OP/s", 2.0 * static_cast<double>(spec.rows() * spec.columns * tokens),
          spec.activations == Activations::kInt8 ? int8_limit() : float_limit, [&] { product.run(); });
  state.SetLabel(label_of(spec));
}
BENCHMARK(quantized_dense)
    ->ArgNames({"format", "rows", "columns", "tokens", "int8"})
    ->ArgsProduct({benchmark::CreateDenseRange(1, 13, 1), {4864}, {1024}, {256}, {1}})
    ->ArgsProduct({{1, 3}, {4864}, {1024}, {16, 64, 512}, {0, 1}})
    ->Args({3, 9728, 896, 256, 1})
    ->Args({3, 896, 4864, 256, 1})
    ->Args({3, 896, 4864, 512, 1})
    ->Args({3, 1152, 896, 512, 1})
    ->UseRealTime();

// Gate, up and SwiGLU, of as many layers as no cache holds.
void gated(benchmark::State& state) {
  const LinearSpec spec = spec_of(state.range(0), state.range(1), state.range(2), true);
  const int64_t tokens = state.range(3);
  Product product(spec, tokens, 8);
  const Buffer space = backend().allocate(backend().gated_scratch_bytes(tokens, spec), Purpose::kScratch);
  const Tensor scratch = tensor(space.as<float>(), static_cast<int64_t>(space.bytes() / 4));
  const Tensor out = tensor(product.out.data(), backend().activation(), tokens, spec.rows() / 2);
  const double float_limit = backend().activation() == DType::kBf16 ? bf16_limit() : f32_limit();
  measure(state, "OP/s", 2.0 * static_cast<double>(spec.rows() * spec.columns * tokens), float_limit, [&] {
    backend().gated(*product.weights[product.next++ % product.weights.size()], product.in, out, scratch);
  });
  state.SetLabel(label_of(spec));
}
BENCHMARK(gated)
    ->ArgNames({"format", "rows", "columns", "tokens"})
    ->ArgsProduct({{0, 3}, {9728}, {896}, {128, 256, 320, 384, 448, 512}})  // Qwen2.5-0.5B
    ->UseRealTime();

// --- attention of one layer, by codec of keys and values, groups of 32

struct Layer {
  static constexpr int kHeads = 14, kKvHeads = 2, kHeadDim = 64;  // Qwen2.5-0.5B

  Layer(Codec codec, int64_t context, int64_t tokens) {
    side.codec = codec;
    side.head_dim = kHeadDim;
    side.kv_heads = kKvHeads;
    side.group = has_scale(codec) ? 32 : kHeadDim;
    side.row_bytes = static_cast<size_t>(kHeadDim * bits_of(codec) / 8);
    side.scales_offset = side.row_bytes * kBlockTokens;
    const size_t metadata = has_scale(codec) ? sizeof(f16) * static_cast<size_t>(side.groups() * kBlockTokens) : 0;
    side.minimums_offset = side.scales_offset + metadata;
    side.block_bytes = Backend::padded(side.minimums_offset + metadata);
    side.head_bytes = side.block_bytes * static_cast<size_t>((context + kBlockTokens - 1) / kBlockTokens);
    storage = backend().allocate(2 * kKvHeads * side.head_bytes, Purpose::kKv);
    keys = values = side;
    keys.lanes = Lanes::kTokens;
    keys.data = storage.as<uint8_t>();
    values.data = keys.data + kKvHeads * side.head_bytes;
    std::vector<float> rows = normals(context * kKvHeads * kHeadDim);
    for (const PackedSide& each : {keys, values})
      backend().pack(tensor(rows.data(), context, kKvHeads, kHeadDim), 0, each);
    queries = normals(tokens * kHeads * kHeadDim);
    out = backend().allocate(queries.size() * 4, Purpose::kScratch);
    scratch = backend().allocate(backend().attend_scratch_bytes(tokens, context, kHeads, kKvHeads, kHeadDim),
                                 Purpose::kScratch);
  }
  void attend(int64_t first, int64_t tokens) {
    backend().attend(tensor(queries.data(), tokens, kHeads, kHeadDim), first, keys, values, kKvHeads,
                     tensor(out.data(), backend().activation(), tokens, kHeads, kHeadDim),
                     tensor(scratch.as<float>(), 1));
  }

  PackedSide side, keys, values;
  Buffer storage, out, scratch;
  std::vector<float> queries;
};

constexpr int64_t kDepth = 8192;

// Seconds of one decode step with bf16 keys and values, what the other codecs are held against.
// As many layers as do not fit into any cache, each attended once in turn, as a decode step does.
class Layers {
 public:
  explicit Layers(Codec codec) {
    while (layers_.empty() || layers_.size() * bytes() < (size_t{40} << 20))
      layers_.push_back(std::make_unique<Layer>(codec, kDepth, 1));
  }
  size_t bytes() const { return layers_.front()->storage.bytes(); }
  void attend_next() { layers_[next_++ % layers_.size()]->attend(kDepth - 1, 1); }

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
  size_t next_ = 0;
};

double bf16_decode_seconds() {
  static const double seconds = [] {
    Layers layers(Codec::kBf16);
    double best = 1;
    for (int i = 0; i < 200; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      layers.attend_next();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
  }();
  return seconds;
}

void attend_decode(benchmark::State& state) {
  const CodecInfo info = kCodecs[static_cast<size_t>(state.range(0))];
  const double bf16_seconds = bf16_decode_seconds(), limit = read_bandwidth(thread_count());
  Layers layers(info.codec);
  const double seconds =
      measure(state, "B/s", static_cast<double>(layers.bytes()), limit, [&] { layers.attend_next(); });
  state.counters["time/bf16"] = seconds / bf16_seconds;
  state.SetLabel(std::string(info.name));
}
BENCHMARK(attend_decode)->DenseRange(0, static_cast<int>(kCodecs.size()) - 1)->UseRealTime();

void attend_prefill(benchmark::State& state) {
  const CodecInfo info = kCodecs[static_cast<size_t>(state.range(0))];
  constexpr int64_t kTokens = 256;
  Layer layer(info.codec, kDepth, kTokens);
  // Two products of head_dim multiply-adds for each query head and each key up to the query's own position.
  const double pairs = kTokens * (kDepth - kTokens) + kTokens * (kTokens + 1) / 2;
  // As many a cycle as of pairs of int16, which codes are multiplied with.
  const bool by_pairs = backend().activation() == DType::kBf16;
  measure(state, "FLOP/s", 4.0 * pairs * Layer::kHeads * Layer::kHeadDim, by_pairs ? bf16_limit() : f32_limit(),
          [&] { layer.attend(kDepth - kTokens, kTokens); });
  state.SetLabel(std::string(info.name) + (by_pairs ? ", limit bf16" : ", limit f32"));
}
BENCHMARK(attend_prefill)->DenseRange(0, static_cast<int>(kCodecs.size()) - 1)->UseRealTime();

// --- rows. The limit is all threads reading and writing at the memory's speed; a cache is faster.

void encode(benchmark::State& state) {
  const CodecInfo info = kCodecs[static_cast<size_t>(state.range(0))];
  Layer layer(info.codec, 1024, 1);
  std::vector<float> rows = normals(1024 * Layer::kKvHeads * Layer::kHeadDim);
  const double limit = read_bandwidth(thread_count());
  measure(state, "values/s", static_cast<double>(rows.size()), limit / (4 + info.bits / 8.0),
          [&] { backend().pack(tensor(rows.data(), 1024, Layer::kKvHeads, Layer::kHeadDim), 0, layer.keys); });
  state.SetLabel(std::string(info.name));
}
BENCHMARK(encode)->DenseRange(0, static_cast<int>(kCodecs.size()) - 1)->UseRealTime();

void decode(benchmark::State& state) {
  const CodecInfo info = kCodecs[static_cast<size_t>(state.range(0))];
  const CpuKernels& kernels = cpu_kernels(instruction_set());
  Layer layer(info.codec, 1024, 1);
  alignas(64) static float tile[kBlockTokens * Layer::kHeadDim];
  const double limit = f32_limit() / thread_count();
  // One thread; a fused multiply-add a value is the least that decoding can take.
  measure(state, "values/s", 1024.0 * Layer::kHeadDim, limit / 2, [&] {
    for (int64_t token = 0; token < 1024; token += kBlockTokens) {
      kernels.decode(layer.keys, 0, token, kBlockTokens, tile);
    }
    benchmark::DoNotOptimize(tile);
  });
  state.SetLabel(std::string(info.name) + ", one thread");
}
BENCHMARK(decode)->DenseRange(0, static_cast<int>(kCodecs.size()) - 1)->UseRealTime();

void rms_norm(benchmark::State& state) {
  const int64_t tokens = state.range(0), n = 576;
  const DType type = backend().activation();
  std::vector<float> x = normals(tokens * n), weight = normals(n);
  const Buffer out = backend().allocate(x.size() * bytes_of(type), Purpose::kScratch);
  const double bytes = static_cast<double>(x.size() * (sizeof(float) + bytes_of(type)));
  measure(state, "B/s", bytes, read_bandwidth(thread_count()), [&] {
    backend().rms_norm(tensor(x.data(), tokens, n), weight.data(), 1e-5f, tensor(out.data(), type, tokens, n));
  });
}
BENCHMARK(rms_norm)->ArgName("tokens")->Arg(1)->Arg(256)->UseRealTime();

void swiglu(benchmark::State& state) {
  const int64_t tokens = state.range(0), n = 1536;
  const DType type = backend().activation();
  std::vector<float> x = normals(tokens * 2 * n);
  const Buffer out = backend().allocate(static_cast<size_t>(tokens * n) * bytes_of(type), Purpose::kScratch);
  const double bytes = static_cast<double>(static_cast<size_t>(tokens * n) * (2 * sizeof(float) + bytes_of(type)));
  measure(state, "B/s", bytes, read_bandwidth(thread_count()),
          [&] { backend().swiglu(tensor(x.data(), tokens, 2 * n), tensor(out.data(), type, tokens, n)); });
}
BENCHMARK(swiglu)->ArgName("tokens")->Arg(1)->Arg(256)->UseRealTime();

void rotate(benchmark::State& state) {
  const int64_t tokens = state.range(0), heads = 9, head_dim = 64;
  std::vector<float> x = normals(tokens * heads * head_dim);
  measure(state, "B/s", 2.0 * static_cast<double>(x.size() * sizeof(float)), read_bandwidth(thread_count()),
          [&] { backend().transform(tensor(x.data(), tokens, heads, head_dim), true, nullptr); });
}
BENCHMARK(rotate)->ArgName("tokens")->Arg(1)->Arg(256)->UseRealTime();

}  // namespace
}  // namespace kvpareto
