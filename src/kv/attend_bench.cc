// Attention over 4096 tokens of a cache, for every scheme of the catalogue and three models' heads, beside bf16
// storage: of one token (a decode step without its weights) and of 256 (a prefill chunk at that depth). As many layers
// as no cache of the processor holds, taken in turn; bf16 and the scheme alternate, so that a machine that slows down
// slows both. The limit of decode is reading the packed bytes at the speed of the memory, measured just before.
//
//   ns            decode, of one layer and one token that is attended over
//   us, us_bf16   decode, of one layer
//   chunk/bf16    of the prefill chunk
//
//   build/src/attend_bench --benchmark_counters_tabular=true
//
// on the best instruction set of this machine or on the one in KVPARETO_BENCH_SET.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
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

constexpr int kDepth = 4096, kRounds = 24, kChunkTokens = 256, kChunkRounds = 3;

struct Heads {
  const char* model;
  int heads;
  CacheShape shape;
};
constexpr Heads kModels[] = {
    {"qwen2.5-0.5b", 14, {.layers = 24, .kv_heads = 2, .head_dim = 64, .context = kDepth, .step = kChunkTokens}},
    {"smollm2-135m", 9, {.layers = 30, .kv_heads = 3, .head_dim = 64, .context = kDepth, .step = kChunkTokens}},
    {"qwen2.5-1.5b", 12, {.layers = 28, .kv_heads = 2, .head_dim = 128, .context = kDepth, .step = kChunkTokens}}};

Backend& backend() {
  const char* set = std::getenv("KVPARETO_BENCH_SET");
  static const std::unique_ptr<Backend> made = make_backend(set != nullptr ? set : "auto");
  return *made;
}

struct Filled {
  Filled(const KvScheme& scheme, const Heads& model) : heads(model.heads), shape(model.shape) {
    const std::vector<float> bias(static_cast<size_t>(shape.kv_heads * shape.head_dim), 1.0f);
    const std::vector<KvBias> biases(static_cast<size_t>(shape.layers), KvBias{bias, bias});
    cache = std::make_unique<KvCache>(backend(), scheme, shape, biases);
    Random random(1);
    const int64_t rows = shape.step, columns = int64_t{shape.kv_heads} * shape.head_dim;
    std::vector<float> values(static_cast<size_t>(rows * columns)), turns(static_cast<size_t>(rows * shape.head_dim));
    for (float& x : values) x = static_cast<float>(random.normal());
    for (int64_t first = 0; first < kDepth; first += rows) {
      fill_turns(shape.rope, shape.head_dim / 2, first, 1, rows, turns.data());
      for (int layer = 0; layer < shape.layers; ++layer) {
        std::vector<float> keys = values, other = values;
        const auto begin = std::chrono::steady_clock::now();
        cache->append(layer, tensor(keys.data(), rows, shape.kv_heads, shape.head_dim),
                      tensor(other.data(), rows, shape.kv_heads, shape.head_dim), turns.data());
        pack_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      }
    }
    queries.assign(static_cast<size_t>(kChunkTokens * heads * shape.head_dim), 0.1f);
    out = queries;
    const size_t bytes = std::max(attend_bytes(1), attend_bytes(kChunkTokens));
    scratch = backend().allocate(bytes, Purpose::kScratch);
  }

  size_t attend_bytes(int64_t tokens) const {
    return backend().attend_scratch_bytes(tokens, kDepth, heads, shape.kv_heads, shape.head_dim);
  }

  // Seconds of the attention of `tokens` queries in the first `layers`.
  double step(int64_t tokens, int layers) {
    const auto begin = std::chrono::steady_clock::now();
    for (int layer = 0; layer < layers; ++layer) {
      cache->attend(layer, tensor(queries.data(), tokens, heads, shape.head_dim),
                    tensor(out.data(), tokens, heads, shape.head_dim),
                    tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / sizeof(float))));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  int heads;
  CacheShape shape;
  std::unique_ptr<KvCache> cache;
  std::vector<float> queries, out;
  Buffer scratch;
  double pack_seconds = 0;  // of all values, in chunks of 256: rope, transforms, fitting, encoding
};

// The cache with bf16 storage of a model; made once.
Filled& exact_cache(const Heads& model) {
  backend();  // made first, so that it outlives the caches
  static std::map<const Heads*, Filled> made;
  return made.try_emplace(&model, KvScheme(), model).first->second;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Times of the scheme, and their ratios to bf16, in alternating rounds.
struct Times {
  std::vector<double> seconds, exact, ratios;

  // One after the other in turn: of what is read twice in a row a large last-level cache holds a part.
  void measure(Filled& exact_cache, Filled& packed, int rounds, int64_t tokens, int layers) {
    double before = exact_cache.step(tokens, layers);
    for (int round = 0; round < rounds; ++round) {
      seconds.push_back(packed.step(tokens, layers));
      const double after = exact_cache.step(tokens, layers);
      exact.push_back(0.5 * (before + after));
      ratios.push_back(seconds.back() / exact.back());
      before = after;
    }
  }
};

void attend(benchmark::State& state, const NamedScheme& named, const Heads& model) {
  const double limit = read_bandwidth(thread_count());
  const CacheShape& shape = model.shape;
  Filled& exact = exact_cache(model);
  Filled packed(parse_scheme(named.text), model);
  Times decode, chunk;
  for (auto _ : state) {
    decode.measure(exact, packed, kRounds, 1, shape.layers);
    chunk.measure(exact, packed, kChunkRounds, kChunkTokens, 1);
  }
  const double time = median(decode.seconds);
  state.counters["us"] = 1e6 * time / shape.layers;
  state.counters["us_bf16"] = 1e6 * median(decode.exact) / shape.layers;
  state.counters["ns"] = 1e9 * time / shape.layers / kDepth;
  state.counters["time/bf16"] = median(decode.ratios);
  state.counters["min"] = *std::min_element(decode.ratios.begin(), decode.ratios.end());
  state.counters["max"] = *std::max_element(decode.ratios.begin(), decode.ratios.end());
  state.counters["chunk/bf16"] = median(chunk.ratios);
  state.counters["bits"] = effective_bits(packed.cache->scheme(), shape);
  state.counters["pack_ns"] =
      1e9 * packed.pack_seconds / (2.0 * shape.layers * kDepth * shape.kv_heads * shape.head_dim);
  state.counters["of_bandwidth"] = static_cast<double>(packed.cache->bytes()) / time / limit;
  state.SetLabel(std::string(named.text) + " " + backend().name());
}

const int kRegistered = [] {
  for (const Heads& model : kModels) {
    for (const NamedScheme& named : catalogue()) {
      benchmark::RegisterBenchmark((std::string(model.model) + "/" + std::string(named.name)).c_str(),
                                   [&](benchmark::State& state) { attend(state, named, model); })
          ->Iterations(1)
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace kvpareto
