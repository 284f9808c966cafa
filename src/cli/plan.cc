// What a configuration costs in memory, from the model's metadata alone.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/longest_context.h"
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
         "plan -m model.gguf --kv k8v8,k8v4,k4v4g32 -c 4096,8192", "plan -m model.gguf -w w16,w8g128,w4g128e8,stored",
         "plan -m model.gguf --kv k8v4 --device-memory 512MiB      the longest context that fits",
         "plan -m model.gguf -ctk int8 -ctv int4 -o json"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.integers("-c,--ctx-size", contexts_, kContexts,
                     "tokens the cache is allocated for [4096, or what the model was trained for if that is less]");
    weights_.declare(options);
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
    for (const WeightScheme& scheme : weights_.schemes(*checkpoint, shape_)) {
      plans_.push_back(plan_weights(*checkpoint, shape_, scheme));
    }
    baseline_ = plan_weights(*checkpoint, shape_);
    std::vector<nlohmann::ordered_json> rows;
    std::vector<std::vector<std::string>> table = {header()};
    for (const int context : contexts_) {
      for (const int chunk : chunks_) {
        for (const Choice& choice : choices()) {
          rows.push_back(row(choice, context, chunk));
          table.push_back(table_row(choice, context, chunk));
        }
        if (!has_baseline()) {
          const auto first = table.end() - static_cast<std::ptrdiff_t>(choices().size());
          table.insert(first, table_row({&baseline_, parse_scheme(kBaseline)}, context, chunk));
        }
      }
    }
    if (format_ != "md") {
      print_result(rows_text(rows, format_, true));
      return;
    }
    print_result(
        fmt::format("{}: {}, {} layers, {}/{} heads of {}, up to {} tokens; for {}; no weights were loaded{}\n\n{}",
                    model_.path, shape_.family, shape_.layers, shape_.heads, shape_.kv_heads, shape_.head_dim,
                    shape_.context, backend_->name(), left_in_file(), markdown(table)));
  }

 private:
  // Of an embedding that is no part of the weights' memory.
  std::string left_in_file() const {
    if (!baseline_.embedding) return "";
    const auto bytes = static_cast<double>(baseline_.embedding->row_bytes() * shape_.vocabulary);
    return fmt::format("; the embedding, {}, stays in the file and is read row by row", human_bytes(bytes));
  }

  struct Choice {
    const WeightPlan* weights;
    KvScheme scheme;
    bool is_baseline() const { return weights->scheme == WeightScheme() && scheme == parse_scheme(kBaseline); }
  };

  std::vector<Choice> choices() const {
    std::vector<Choice> all;
    for (const WeightPlan& weights : plans_) {
      for (const KvScheme& scheme : kv_.schemes(shape_, kBaseline)) all.push_back({&weights, scheme});
    }
    return all;
  }
  bool has_baseline() const {
    const std::vector<Choice> all = choices();
    return std::any_of(all.begin(), all.end(), [](const Choice& choice) { return choice.is_baseline(); });
  }

  MemoryParts parts(const Choice& choice, int context, int chunk) const {
    return session_bytes(shape_, *choice.weights, *backend_, {choice.scheme, context, chunk, 1});
  }
  size_t baseline_bytes(int context, int chunk) const {
    return parts({&baseline_, parse_scheme(kBaseline)}, context, chunk).total();
  }
  bool with_weights() const { return plans_.size() > 1 || !(plans_.front().scheme == WeightScheme()); }

  std::vector<std::string> header() const {
    std::vector<std::string> cells = {"context",  "chunk",   "KV",     "bits/value", "weights",
                                      "KV cache", "scratch", "logits", "total",      "vs 16 bit"};
    if (with_weights()) cells.insert(cells.begin() + 2, "-w");
    if (device_bytes_) cells.push_back(fmt::format("longest in {}", human_bytes(*device_bytes_)));
    return cells;
  }

  std::vector<std::string> table_row(const Choice& choice, int context, int chunk) const {
    const KvScheme& scheme = choice.scheme;
    const MemoryParts p = parts(choice, context, chunk);
    std::vector<std::string> cells = {
        std::to_string(context),
        std::to_string(chunk),
        to_text(scheme),
        fmt::format("{:.2f}", effective_bits(scheme, shape_.cache_shape(context, chunk))),
        human_bytes(static_cast<double>(p.weights)),
        human_bytes(static_cast<double>(p.kv)),
        human_bytes(static_cast<double>(p.scratch)),
        human_bytes(static_cast<double>(p.logits)),
        human_bytes(static_cast<double>(p.total())),
        choice.is_baseline() ? "" : percent_saved(p.total(), baseline_bytes(context, chunk))};
    if (with_weights()) cells.insert(cells.begin() + 2, to_text(choice.weights->scheme));
    if (device_bytes_) {
      const int longest = longest_context(shape_, *choice.weights, *backend_, choice.scheme, chunk, *device_bytes_);
      cells.push_back(longest == 0 ? "does not fit" : fmt::format("{}", longest));
    }
    return cells;
  }

  nlohmann::ordered_json row(const Choice& choice, int context, int chunk) const {
    const KvScheme& scheme = choice.scheme;
    const MemoryParts p = parts(choice, context, chunk);
    nlohmann::ordered_json row = {{"model_filename", model_.path},
                                  {"n_ctx", context},
                                  {"n_ubatch", chunk},
                                  {"weights", to_text(choice.weights->scheme)},
                                  {"kv", to_text(scheme)},
                                  {"type_k", key_type(scheme)},
                                  {"type_v", value_type(scheme)},
                                  {"effective_bits", effective_bits(scheme, shape_.cache_shape(context, chunk))},
                                  {"weights_bytes", p.weights},
                                  {"kv_bytes", p.kv},
                                  {"scratch_bytes", p.scratch},
                                  {"logits_bytes", p.logits},
                                  {"total_bytes", p.total()},
                                  {"baseline_total_bytes", baseline_bytes(context, chunk)},
                                  {"backend", backend_->name()}};
    if (device_bytes_)
      row["longest_context"] =
          longest_context(shape_, *choice.weights, *backend_, choice.scheme, chunk, *device_bytes_);
    return row;
  }

  ModelOptions model_;
  WeightOptions weights_;
  KvOptions kv_;
  std::vector<int> contexts_, chunks_ = {256};
  std::optional<double> device_bytes_;
  std::string format_ = "md";
  std::unique_ptr<Backend> backend_;
  ModelShape shape_;
  std::vector<WeightPlan> plans_;
  WeightPlan baseline_;
};

}  // namespace

std::unique_ptr<Command> make_plan() { return std::make_unique<Plan>(); }

}  // namespace kvpareto
