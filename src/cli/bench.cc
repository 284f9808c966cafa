// Prefill and decode rates in llama-bench's columns.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/statistics.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/profile_table.h"
#include "cli/shared_options.h"
#include "engine/session.h"

namespace kvpareto {
namespace {

// One row: `prompt` tokens prefilled or `generate` tokens decoded (the other is 0) behind `depth` tokens.
struct Trial {
  size_t model;  // index of the weights
  std::string weights;
  KvScheme scheme;
  int chunk, depth, threads = 0, prompt = 0, generate = 0;
  std::vector<double> rates = {};  // tokens/s, one a round
  std::vector<double> reads = {};  // decoding: bytes/s that the machine reads at most, measured beside each rate
  std::vector<ProfilePart> parts = {};

  double seconds() const {
    double sum = 0;
    for (const double rate : rates) sum += (prompt + generate) / rate;
    return sum;
  }
};

// A cache that is already `depth` tokens deep, shared by the trials that differ in nothing else.
struct Prepared {
  Session session;
  KvCache::Mark mark;
};

class Bench : public Command {
 public:
  About about() const override {
    return {
        "bench",
        "prefill and decode rates",
        "Times prefill (-p) and decoding (-n) behind -d tokens of context, for every combination of the lists given. "
        "Rounds are interleaved: each repetition visits every combination once, so that a machine that slows down "
        "does not favour one of them. Columns are llama-bench's. Tokens are drawn from a seeded generator. Beside each "
        "decoding the memory's read bandwidth is measured: 'of read' is the share of it that weights and cache, read "
        "once a token, come to. --profile adds where the time went.",
        {"bench -m model.gguf", "bench -m model.gguf -p 512 -n 64 -d 0,4096 --kv k16v16,k8v8,k4v4",
         "bench -m model.gguf -w w16,w8g128,w4g128e8,stored", "bench -m model.gguf -d 4096 -p 256 -n 32 --kv all",
         "bench -m model.gguf -d 4096 --profile",
         "bench -m model.gguf -ctk bf16,int8 -ctv int8 -ub 128,512 -t 1,2 -r 5 -o csv"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.integers("-p,--n-prompt", prompts_, {0, kMostContext}, "tokens to prefill; 0 leaves it out");
    options.integers("-n,--n-gen", generates_, {0, kMostContext}, "tokens to decode; 0 leaves it out");
    options.integers("-d,--n-depth", depths_, {0, kMostContext}, "tokens already in the cache");
    weights_.declare(options);
    kv_.declare(options);
    options.integers("-ub,--ubatch-size", chunks_, kChunks, "tokens of one prefill step");
    options.integer("-r,--repetitions", repetitions_, {1, 1000}, "rounds");
    options.seed(seed_);
    options.flag("--logits", logits_, "decode with all logits, as sampling needs them; else greedily, as 'run' does");
    options.flag("--profile", profile_, "where the time went, beside what the machine can do (needs -o md)");
    options.choice("-o,--output", format_, {"md", "csv", "json", "jsonl"}, "format of the result");
    options.heading("Common options");
    options.integers("-t,--threads", threads_, {1, 1024}, "threads to compute with [all of the machine's]");
    std::vector<std::string> names = backend_names();
    names.insert(names.begin(), "auto");
    options.choice("--backend", model_.backend, names,
                   "instruction set to compute with; auto is the best this machine has");
  }

  void run() override {
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    if (threads_.empty()) threads_ = {thread_count()};
    const std::vector<WeightScheme> weights = weights_.schemes(*checkpoint, shape);
    std::vector<Trial> trials = make_trials(shape, weights);
    if (profile_ && format_ != "md") fail_usage("--profile prints tables for people: leave -o {} out", format_);
    std::unique_ptr<Backend> backend = model_.make();
    ProfiledBackend* profiled = nullptr;
    if (profile_) {
      auto wrapped = std::make_unique<ProfiledBackend>(std::move(backend));
      profiled = wrapped.get();
      backend = std::move(wrapped);
    }
    const LoadedModel loaded = load(model_, std::move(backend));
    // All at once, since rounds visit them in turn.
    std::vector<std::unique_ptr<ModelShelf>> models;
    for (size_t i = 0; i < weights.size(); ++i) {
      models.push_back(std::make_unique<ModelShelf>(*loaded.checkpoint, *loaded.backend));
      models.back()->at(weights[i]);
    }
    std::vector<std::unique_ptr<Prepared>> prepared = prepare(models, trials);
    time_rounds(trials, prepared, profiled);
    std::vector<nlohmann::ordered_json> rows;
    for (const Trial& trial : trials) rows.push_back(row(trial, loaded, models[trial.model]->held()));
    if (format_ != "md") return print_result(rows_text(rows, format_));
    print_result(people_table(rows));
    if (!profiled) return;
    const std::optional<MachineLimits> limits = profiled->measure_limits();
    for (size_t i = 0; i < trials.size(); ++i) {
      print_result(fmt::format("\n{} {}, {}:\n\n{}", trials[i].weights, to_text(trials[i].scheme), test_name(rows[i]),
                               profile_table(trials[i].parts, trials[i].seconds(), limits)));
    }
  }

 private:
  int context_of(int depth) const {
    const int prompt = *std::max_element(prompts_.begin(), prompts_.end());
    return depth + std::max(prompt, *std::max_element(generates_.begin(), generates_.end()));
  }

  std::vector<Trial> make_trials(const ModelShape& shape, const std::vector<WeightScheme>& weights) const {
    for (const int depth : depths_) check_context(context_of(depth), shape, model_.path);
    std::vector<Trial> trials;
    for (size_t i = 0; i < weights.size(); ++i) {
      for (const KvScheme& scheme : kv_.schemes(shape)) {
        for (const int chunk : chunks_) {
          for (const int depth : depths_) add_trials(trials, {i, to_text(weights[i]), scheme, chunk, depth});
        }
      }
    }
    if (trials.empty()) fail_usage("-p 0 and -n 0 leave nothing to time");
    return trials;
  }

  void add_trials(std::vector<Trial>& trials, Trial trial) const {
    for (const int threads : threads_) {
      trial.threads = threads;
      for (const int n : prompts_) {
        trial.prompt = n;
        if (n > 0) trials.push_back(trial);
      }
      trial.prompt = 0;
      for (const int n : generates_) {
        trial.generate = n;
        if (n > 0) trials.push_back(trial);
      }
      trial.generate = 0;
    }
  }

  std::vector<int32_t> draw(Random& random, int count, int vocabulary) const {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary)));
    return tokens;
  }

  // One for each trial, the same one for neighbours that share it.
  std::vector<std::unique_ptr<Prepared>> prepare(const std::vector<std::unique_ptr<ModelShelf>>& models,
                                                 const std::vector<Trial>& trials) const {
    std::vector<std::unique_ptr<Prepared>> prepared;
    Progress progress("filling caches", static_cast<double>(trials.size()), "caches");
    set_thread_count(threads_.back());
    for (size_t i = 0; i < trials.size(); ++i) {
      const Trial& trial = trials[i];
      progress.update(static_cast<double>(i));
      if (i > 0 && shares(trials[i - 1], trial)) continue;
      Random random(seed_);
      const Model& model = models[trial.model]->held();
      auto next = std::make_unique<Prepared>(
          Prepared{Session(model, {trial.scheme, context_of(trial.depth), trial.chunk, 1}), {}});
      const std::vector<int32_t> tokens = draw(random, trial.depth, model.shape.vocabulary);
      next->session.prefill(tokens, [](int64_t) { stop_if_interrupted(); });
      next->mark = next->session.mark();
      prepared.push_back(std::move(next));
    }
    return prepared;
  }

  static bool shares(const Trial& a, const Trial& b) {
    return a.model == b.model && a.scheme == b.scheme && a.chunk == b.chunk && a.depth == b.depth;
  }

  void time_rounds(std::vector<Trial>& trials, const std::vector<std::unique_ptr<Prepared>>& prepared,
                   ProfiledBackend* profiled) const {
    Progress progress("bench", static_cast<double>(repetitions_) * static_cast<double>(trials.size()), "runs");
    double done = 0;
    for (int round = 0; round < repetitions_; ++round) {
      size_t cache = 0;
      for (size_t i = 0; i < trials.size(); ++i) {
        if (i > 0 && !shares(trials[i - 1], trials[i])) ++cache;
        progress.update(done);
        Trial& trial = trials[i];
        set_thread_count(trial.threads);
        if (round == 0) time(trial, *prepared[cache], 1);  // brings code and weights to where they are used from
        if (profiled) profiled->take_parts();
        trial.rates.push_back(time(trial, *prepared[cache], trial.prompt + trial.generate));
        if (profiled) add_parts(trial.parts, profiled->take_parts());
        const auto limits =
            trial.generate > 0 ? prepared[cache]->session.model().backend->measure_limits() : std::nullopt;
        if (limits) trial.reads.push_back(limits->read_bytes);
        progress.update(++done);
      }
    }
  }

  // Tokens per second of `count` tokens of the trial's kind.
  double time(const Trial& trial, Prepared& prepared, int count) const {
    Session& session = prepared.session;
    Random random(seed_ + 1);
    const std::vector<int32_t> tokens = draw(random, count, session.model().shape.vocabulary);
    const auto start = std::chrono::steady_clock::now();
    if (trial.prompt > 0) {
      session.prefill(tokens, [](int64_t) { stop_if_interrupted(); });
    } else {
      for (const int32_t& token : tokens) {
        if (logits_) {
          session.next({&token, 1});
        } else {
          session.greedy_next({&token, 1});
        }
        stop_if_interrupted();
      }
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    session.rewind(prepared.mark);
    return count / elapsed.count();
  }

  // Bytes that decoding one token must read: every weight it multiplies by, of the head what a greedy choice takes, and
  // the cache, on average.
  double decode_bytes(const Trial& trial, const Model& model) const {
    const int tokens = trial.depth + (trial.generate + 1) / 2;
    const size_t head = logits_ ? model.head->bytes() : model.backend->best_row_bytes(*model.head);
    const size_t weights = model.bytes() - model.head->bytes() + head;
    return static_cast<double>(weights + cache_bytes(trial.scheme, model.shape.cache_shape(tokens)));
  }

  nlohmann::ordered_json row(const Trial& trial, const LoadedModel& loaded, const Model& model) const {
    const std::string name = loaded.backend->name();
    const size_t slash = name.find('/');
    const Estimate rate = estimate(trial.rates);
    const double deviation = trial.rates.size() > 1 ? rate.standard_error * std::sqrt(trial.rates.size()) : 0;
    std::vector<double> shares;
    for (size_t i = 0; i < trial.reads.size(); ++i) {
      shares.push_back(trial.rates[i] * decode_bytes(trial, model) / trial.reads[i]);
    }
    const auto median = [](const std::vector<double>& values, double scale) {
      return values.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(scale * quantile(values, 0.5));
    };
    return {{"model_filename", model_.path},
            {"backend", name.substr(0, slash)},
            {"kernel", slash == std::string::npos ? name : name.substr(slash + 1)},
            {"n_threads", trial.threads},
            {"n_ubatch", trial.chunk},
            {"weights", trial.weights},
            {"type_k", key_type(trial.scheme)},
            {"type_v", value_type(trial.scheme)},
            {"kv", to_text(trial.scheme)},
            {"n_prompt", trial.prompt},
            {"n_gen", trial.generate},
            {"n_depth", trial.depth},
            {"avg_ts", rate.value},
            {"stddev_ts", deviation},
            {"min_ts", quantile(trial.rates, 0)},
            {"median_ts", quantile(trial.rates, 0.5)},
            {"max_ts", quantile(trial.rates, 1)},
            {"repetitions", repetitions_},
            {"read_gbs", median(trial.reads, 1e-9)},
            {"of_read", median(shares, 1)}};
  }

  static std::string test_name(const nlohmann::ordered_json& row) {
    const int depth = row["n_depth"], prompt = row["n_prompt"], generate = row["n_gen"];
    const std::string test = prompt > 0 ? fmt::format("pp{}", prompt) : fmt::format("tg{}", generate);
    return depth > 0 ? fmt::format("{} @ d{}", test, depth) : test;
  }

  // As llama-bench shows it: what the same test has in common in one column ("pp512 @ d4096").
  std::string people_table(const std::vector<nlohmann::ordered_json>& rows) const {
    std::vector<std::vector<std::string>> table = {
        {"kernel", "threads", "ubatch", "weights", "kv", "test", "t/s", "median", "min", "max", "of read"}};
    for (const auto& row : rows) {
      table.push_back({fmt::format("{}", row["kernel"].get<std::string>()), row["n_threads"].dump(),
                       row["n_ubatch"].dump(), row["weights"], row["kv"], test_name(row),
                       fmt::format("{:.2f} ± {:.2f}", row["avg_ts"].get<double>(), row["stddev_ts"].get<double>()),
                       fmt::format("{:.2f}", row["median_ts"].get<double>()),
                       fmt::format("{:.2f}", row["min_ts"].get<double>()),
                       fmt::format("{:.2f}", row["max_ts"].get<double>()),
                       row["of_read"].is_null() ? "" : fmt::format("{:.0f} %", 100 * row["of_read"].get<double>())});
    }
    return fmt::format("{}\n\n{}", model_.path, markdown(table));
  }

  ModelOptions model_;
  WeightOptions weights_;
  KvOptions kv_;
  std::vector<int> prompts_ = {512}, generates_ = {64}, depths_ = {0}, chunks_ = {256}, threads_;
  int repetitions_ = 3;
  uint64_t seed_ = 1;
  bool logits_ = false, profile_ = false;
  std::string format_ = "md";
};

}  // namespace

std::unique_ptr<Command> make_bench() { return std::make_unique<Bench>(); }

}  // namespace kvpareto
