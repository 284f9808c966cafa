// One token attending over 4096 packed ones, for every scheme of the catalogue, beside bf16 storage: the time of a
// decode step's attention without its weights. As many layers as no cache of the processor holds, taken in turn; bf16
// and the scheme alternate, so that a machine that slows down slows both. The limit is reading the packed bytes at the
// speed of the memory.
//
//   build/src/attend_bench

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "backend/backend.h"
#include "backend/cpu/machine_limits.h"
#include "base/parallel.h"
#include "base/random.h"
#include "kv/cache.h"
#include "kv/catalogue.h"
#include "kv/rope.h"

namespace kvpareto {
namespace {

constexpr int kDepth = 4096, kHeads = 14, kRounds = 24;
constexpr CacheShape kShape{
    .layers = 24, .kv_heads = 2, .head_dim = 64, .context = kDepth, .step = 256};  // Qwen2.5-0.5B

Backend& backend() {
  static const std::unique_ptr<Backend> made = make_backend("auto");
  return *made;
}

struct Filled {
  explicit Filled(const KvScheme& scheme) {
    const std::vector<float> bias(static_cast<size_t>(kShape.kv_heads * kShape.head_dim), 1.0f);
    const std::vector<KvBias> biases(static_cast<size_t>(kShape.layers), KvBias{bias, bias});
    cache = std::make_unique<KvCache>(backend(), scheme, kShape, biases);
    Random random(1);
    const int64_t rows = kShape.step, columns = int64_t{kShape.kv_heads} * kShape.head_dim;
    std::vector<float> values(static_cast<size_t>(rows * columns)), turns(static_cast<size_t>(rows * kShape.head_dim));
    for (float& x : values) x = static_cast<float>(random.normal());
    for (int64_t first = 0; first < kDepth; first += rows) {
      fill_turns(kShape.rope, kShape.head_dim / 2, first, 1, rows, turns.data());
      for (int layer = 0; layer < kShape.layers; ++layer) {
        std::vector<float> keys = values, other = values;
        const auto begin = std::chrono::steady_clock::now();
        cache->append(layer, tensor(keys.data(), rows, kShape.kv_heads, kShape.head_dim),
                      tensor(other.data(), rows, kShape.kv_heads, kShape.head_dim), turns.data());
        pack_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      }
    }
    queries.assign(static_cast<size_t>(kHeads * kShape.head_dim), 0.1f);
    out = queries;
    scratch = backend().allocate(backend().attend_scratch_bytes(1, kDepth, kHeads, kShape.kv_heads, kShape.head_dim),
                                 Purpose::kScratch);
  }

  // Seconds of the attention of all layers.
  double step() {
    const auto begin = std::chrono::steady_clock::now();
    for (int layer = 0; layer < kShape.layers; ++layer) {
      cache->attend(layer, tensor(queries.data(), 1, kHeads, kShape.head_dim),
                    tensor(out.data(), 1, kHeads, kShape.head_dim),
                    tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / sizeof(float))));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  std::unique_ptr<KvCache> cache;
  std::vector<float> queries, out;
  Buffer scratch;
  double pack_seconds = 0;  // of all values, in chunks of 256: rope, transforms, fitting, encoding
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void attend(benchmark::State& state, const NamedScheme& named) {
  const double limit = read_bandwidth(thread_count());
  Filled exact((KvScheme())), packed(parse_scheme(named.text));
  std::vector<double> ratios, seconds;
  for (auto _ : state) {
    for (int round = 0; round < kRounds; ++round) {
      const double before = exact.step();
      seconds.push_back(packed.step());
      ratios.push_back(seconds.back() / (0.5 * (before + exact.step())));
    }
  }
  const double time = median(seconds);
  state.counters["us"] = 1e6 * time / kShape.layers;
  state.counters["time/bf16"] = median(ratios);
  state.counters["min"] = *std::min_element(ratios.begin(), ratios.end());
  state.counters["max"] = *std::max_element(ratios.begin(), ratios.end());
  state.counters["bits"] = effective_bits(packed.cache->scheme(), kShape);
  state.counters["pack_ns"] =
      1e9 * packed.pack_seconds / (2.0 * kShape.layers * kDepth * kShape.kv_heads * kShape.head_dim);
  state.counters["of_bandwidth"] = static_cast<double>(packed.cache->bytes()) / time / limit;
  state.SetLabel(std::string(named.text) + " " + backend().name());
}

const int kRegistered = [] {
  for (const NamedScheme& named : catalogue()) {
    benchmark::RegisterBenchmark(std::string(named.name).c_str(),
                                 [&named](benchmark::State& state) { attend(state, named); })
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
  }
  return 0;
}();

}  // namespace
}  // namespace kvpareto
