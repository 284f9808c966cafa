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
  }
  state.SetLabel(instruction_set());
}
BENCHMARK(limits)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);

// --- products. As many copies of the weights, taken in turn, as the probe of the bandwidth reads: 256 MB.

struct Product {
  Product(int64_t rows, int64_t columns, int64_t tokens, int copies)
      : x(backend().allocate(static_cast<size_t>(tokens * columns) * 4, Purpose::kScratch)),
        out(backend().allocate(static_cast<size_t>(tokens * rows) * 4, Purpose::kScratch)),
        scratch(backend().allocate(backend().linear_scratch_bytes(tokens, bf16_spec(rows, columns, false)), Purpose::kScratch)) {
    const std::vector<float> row = normals(columns);
    for (int i = 0; i < copies; ++i) {
      weights.push_back(backend().make_linear(rows, columns,
                                              [&](int64_t, int64_t count, float* to) {
                                                for (int64_t r = 0; r < count; ++r)
                                                  std::copy_n(row.data(), columns, to + r * columns);
                                              },
                                              {}));
    }
    in = tensor(x.data(), backend().activation(), tokens, columns);
    result = tensor(out.as<float>(), tokens, rows);
    space = tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / 4));
  }
  void run() { backend().linear(*weights[next++ % weights.size()], in, result, false, space); }

  std::vector<std::unique_ptr<Linear>> weights;
  size_t next = 0;
  Buffer x, out, scratch;
  Tensor in, result, space;
};

void gemv(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  const double bytes = 2.0 * static_cast<double>(rows * columns);
  Product product(rows, columns, tokens, static_cast<int>(1 + 2.56e8 / bytes));
  const double limit = read_bandwidth(thread_count());
  measure(state, "B/s", bytes, limit, [&] { product.run(); });
}
BENCHMARK(gemv)
    ->ArgNames({"rows", "columns", "tokens"})
    ->Args({49152, 576, 1})  // SmolLM2-135M: output head, gate and up, down
    ->Args({3072, 576, 1})
    ->Args({576, 1536, 1})
    ->Args({9728, 896, 1})  // Qwen2.5-0.5B: gate and up
    ->Args({9728, 896, 4})
    ->Args({9728, 896, 8})
    ->UseRealTime();

void dense(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  Product product(rows, columns, tokens, 4);
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

// --- attention of one layer, by codec of keys and values, groups of 32

struct Layer {
  static constexpr int kHeads = 9, kKvHeads = 3, kHeadDim = 64;  // SmolLM2-135M

  Layer(Codec codec, int64_t context, int64_t tokens) {
    side.codec = codec;
    side.head_dim = kHeadDim;
    side.kv_heads = kKvHeads;
    side.group = has_scale(codec) ? 32 : kHeadDim;
    side.row_bytes = kHeadDim / kChunk * chunk_bytes(codec);
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

constexpr int64_t kDepth = 4096;

// Seconds of one decode step with bf16 keys and values, what the other codecs are held against.
double bf16_decode_seconds() {
  static const double seconds = [] {
    Layer layer(Codec::kBf16, kDepth, 1);
    double best = 1;
    for (int i = 0; i < 200; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      layer.attend(kDepth - 1, 1);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
  }();
  return seconds;
}

void attend_decode(benchmark::State& state) {
  const CodecInfo info = kCodecs[static_cast<size_t>(state.range(0))];
  const double bf16_seconds = bf16_decode_seconds(), limit = read_bandwidth(thread_count());
  Layer layer(info.codec, kDepth, 1);
  // The share of the memory's bandwidth counts packed bytes; one layer is small enough for a cache, so it may pass 1.
  const double seconds =
      measure(state, "B/s", static_cast<double>(layer.storage.bytes()), limit, [&] { layer.attend(kDepth - 1, 1); });
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
  measure(state, "FLOP/s", 4.0 * pairs * Layer::kHeads * Layer::kHeadDim, f32_limit(),
          [&] { layer.attend(kDepth - kTokens, kTokens); });
  state.SetLabel(std::string(info.name) + ", limit f32");
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

}  // namespace
}  // namespace kvpareto
