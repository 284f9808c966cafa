// What a configuration costs in memory, from the model's metadata alone.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "engine/session.h"

namespace kvpareto {
namespace {

const std::string kBaseline = "k16v16";

std::string percent_saved(size_t bytes, size_t baseline) {
  return fmt::format("{:+.1f} %", 100.0 * (static_cast<double>(bytes) / static_cast<double>(baseline) - 1));
}

class Plan : public Command {
 public:
  About about() const override {
    return {
        "plan",
        "memory of a configuration, before anything is loaded",
        "Prints what a configuration will take in memory (weights, KV cache with its scales, working memory, logits) "
        "from the model file's metadata alone; no weight is read. The figures are what 'run' then really "
        "allocates. Lists and ranges (1024-8192+1024) give a row for each combination, each with its 16-bit baseline.",
        {"plan -m model.gguf -c 32768 -ctk int4 -ctv int4 -ub 256",
         "plan -m model.gguf --kv k8v8,k8v4,k4v4g32 -c 4096,8192",
         "plan -m model.gguf --kv k8v4 --device-memory 512MiB      the longest context that fits",
         "plan -m model.gguf -ctk int8 -ctv int4 -o json"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.integers("-c,--ctx-size", contexts_, kContexts,
                     "tokens the cache is allocated for [4096, or what the model was trained for if that is less]");
    kv_.declare(options);
    options.integers("-ub,--ubatch-size", chunks_, kChunks, "tokens of one prefill step");
    options.parsed("--device-memory", "SIZE", "say the longest context that fits into so much memory (512MiB, 8GiB)",
                   [this](const std::string& text) { device_bytes_ = parse_bytes("--device-memory", text); });
    options.choice("-o,--output", format_, {"md", "json", "csv", "jsonl"}, "format of the result");
    model_.declare_machine(options);
  }

  void run() override {
    const auto checkpoint = model_.open();
    backend_ = model_.make();
    shape_ = read_shape(*checkpoint);
    if (contexts_.empty()) contexts_ = {std::min(kDefaultContext, shape_.context)};
    for (const int context : contexts_) check_context(context, shape_, model_.path);
    std::vector<nlohmann::ordered_json> rows;
    std::vector<std::vector<std::string>> table = {header()};
    for (const int context : contexts_) {
      for (const int chunk : chunks_) {
        for (const KvScheme& scheme : with_baseline(kv_.schemes(shape_, kBaseline))) {
          table.push_back(table_row(scheme, context, chunk));
        }
        for (const KvScheme& scheme : kv_.schemes(shape_, kBaseline)) rows.push_back(row(scheme, context, chunk));
      }
    }
    if (format_ != "md") {
      print_result(rows_text(rows, format_, true));
      return;
    }
    print_result(
        fmt::format("{}: {}, {} layers, {}/{} heads of {}, up to {} tokens; for {}; no weights were loaded\n\n{}",
                    model_.path, shape_.family, shape_.layers, shape_.heads, shape_.kv_heads, shape_.head_dim,
                    shape_.context, backend_->name(), markdown(table)));
  }

 private:
  MemoryParts parts(const KvScheme& scheme, int context, int chunk) const {
    return session_bytes(shape_, *backend_, {scheme, context, chunk, 1});
  }

  static std::vector<KvScheme> with_baseline(std::vector<KvScheme> schemes) {
    std::erase(schemes, parse_scheme(kBaseline));
    schemes.insert(schemes.begin(), parse_scheme(kBaseline));
    return schemes;
  }

  // Tokens of the longest context that fits the device; 0 if not even one token does. Memory grows with the context.
  int longest_context(const KvScheme& scheme, int chunk) const {
    int fits = 0, beyond = shape_.context + 1;
    while (beyond - fits > 1) {
      const int middle = fits + (beyond - fits) / 2;
      (static_cast<double>(parts(scheme, middle, chunk).total()) <= *device_bytes_ ? fits : beyond) = middle;
    }
    return fits;
  }

  std::vector<std::string> header() const {
    std::vector<std::string> cells = {"context",  "chunk",   "KV",     "bits/value", "weights",
                                      "KV cache", "scratch", "logits", "total",      "vs 16 bit"};
    if (device_bytes_) cells.push_back(fmt::format("longest in {}", human_bytes(*device_bytes_)));
    return cells;
  }

  std::vector<std::string> table_row(const KvScheme& scheme, int context, int chunk) const {
    const MemoryParts p = parts(scheme, context, chunk);
    const size_t baseline = parts(parse_scheme(kBaseline), context, chunk).total();
    std::vector<std::string> cells = {std::to_string(context),
                                      std::to_string(chunk),
                                      to_text(scheme),
                                      fmt::format("{:.2f}", effective_bits(scheme, shape_.cache_shape(context, chunk))),
                                      human_bytes(static_cast<double>(p.weights)),
                                      human_bytes(static_cast<double>(p.kv)),
                                      human_bytes(static_cast<double>(p.scratch)),
                                      human_bytes(static_cast<double>(p.logits)),
                                      human_bytes(static_cast<double>(p.total())),
                                      scheme == parse_scheme(kBaseline) ? "" : percent_saved(p.total(), baseline)};
    if (device_bytes_) {
      const int longest = longest_context(scheme, chunk);
      cells.push_back(longest == 0 ? "does not fit" : fmt::format("{}", longest));
    }
    return cells;
  }

  nlohmann::ordered_json row(const KvScheme& scheme, int context, int chunk) const {
    const MemoryParts p = parts(scheme, context, chunk);
    nlohmann::ordered_json row = {{"model_filename", model_.path},
                                  {"n_ctx", context},
                                  {"n_ubatch", chunk},
                                  {"kv", to_text(scheme)},
                                  {"type_k", key_type(scheme)},
                                  {"type_v", value_type(scheme)},
                                  {"effective_bits", effective_bits(scheme, shape_.cache_shape(context, chunk))},
                                  {"weights_bytes", p.weights},
                                  {"kv_bytes", p.kv},
                                  {"scratch_bytes", p.scratch},
                                  {"logits_bytes", p.logits},
                                  {"total_bytes", p.total()},
                                  {"baseline_total_bytes", parts(parse_scheme(kBaseline), context, chunk).total()},
                                  {"backend", backend_->name()}};
    if (device_bytes_) row["longest_context"] = longest_context(scheme, chunk);
    return row;
  }

  ModelOptions model_;
  KvOptions kv_;
  std::vector<int> contexts_, chunks_ = {256};
  std::optional<double> device_bytes_;
  std::string format_ = "md";
  std::unique_ptr<Backend> backend_;
  ModelShape shape_;
};

}  // namespace

std::unique_ptr<Command> make_plan() { return std::make_unique<Plan>(); }

}  // namespace kvpareto
