// One measurement for each configuration asked for.

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "eval/evaluator.h"
#include "eval/task.h"

namespace kvpareto {
namespace {

constexpr int kDefaultScored = 512;

class Eval : public Command {
 public:
  About about() const override {
    return {"eval",
            "measure configurations one by one",
            "Measures each configuration: memory as allocated, divergence from the 16-bit baseline through the packed "
            "cache (prefill, then the following tokens teacher-forced in short steps), speed, and retrieval tasks if "
            "asked for. --tokens measures on exactly the given ids, so that other programs' runs can be matched token "
            "by token.",
            {"eval -m model.gguf --kv k8v8,k4v4", "eval -m model.gguf -w w8g128,w4g128e8 --kv k16v16,k8v8",
             "eval -m model.gguf -ctk int8 -ctv int4,int2 --text book.txt -o csv",
             "eval -m model.gguf --kv k4v4 --tokens ids.json --prefill 4096 --step 128 -o json",
             "eval -m model.gguf --kv k8v4 --tasks needle,needle_multikey --limit 20"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    weights_.declare(options);
    kv_.declare(options);
    options.integers("-ub,--ubatch-size", chunks_, kChunks, "tokens of one prefill step");
    options.integer("-c,--ctx-size", options_.context, kContexts,
                    "tokens the cache is allocated for [prefill + scored]");
    options.choice("-o,--output", format_, {"md", "csv", "json", "jsonl"}, "format of the result");
    options.text("--study", "FILE", study_,
                 "keep measurements in this study; what it holds already is not measured again");
    options.heading("Divergence");
    options.integer("--prefill", options_.prefill, {1, kMostContext}, "tokens before the scored ones");
    options.integer("--scored", scored_, {1, kMostContext},
                    "tokens scored in each text [512; of --tokens all that follow the prefill]");
    options.integer("--step", options_.step, kChunks, "tokens of one teacher-forced step");
    texts_.declare(options);
    options.text("--tokens", "FILE", texts_.token_file, "measure on exactly these ids: a JSON array of arrays");
    options.heading("Tasks");
    options.list("--tasks", "LIST", tasks_, "retrieval tasks: needle, needle_multikey [none]");
    options.integer("--limit", limit_, {1, 100000}, "samples of each task");
    options.text("--haystack", "FILE", haystack_, "hide the needles in this text [text that the program writes]");
    options.integer("--needle-tokens", options_.needle_tokens, {64, kMostContext}, "tokens of one sample");
    model_.declare_machine(options);
  }

  void run() override {
    check_tasks();
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    const std::vector<WeightScheme> weights = weights_.schemes(*checkpoint, shape);
    const std::vector<KvScheme> schemes = kv_.schemes(shape);
    options_.scored = scored_ > 0 || !texts_.token_file.empty() ? scored_ : kDefaultScored;
    check_context(std::max(options_.context, options_.prefill + options_.scored), shape, model_.path);
    options_.seed = texts_.seed;
    options_.needles = tasks_.empty() ? 0 : limit_;
    if (!haystack_.empty()) options_.haystack = read_file(haystack_);
    std::unique_ptr<Study> study = study_.empty() ? nullptr : std::make_unique<Study>(study_);
    const LoadedModel loaded = load(model_);
    options_.chat_template = loaded.checkpoint->vocabulary().chat_template;
    Evaluator evaluator(*loaded.models, loaded.tokenizer,
                        texts_.obtain(loaded, options_.prefill + options_.scored + 1, study.get()), options_);
    std::vector<Measurement> measured;
    {
      const std::vector<Point> points = points_of(weights, schemes);
      Progress progress("eval", static_cast<double>(points.size()), "points");
      for (const Point& point : points) {
        measured.push_back(measure(evaluator, point, progress, measured.size(), study.get()));
      }
    }
    print_result(format_ == "md" ? people_table(measured) : table(measured, find_front(measured), format_));
    for (const Measurement& m : measured) {
      if (m.state == State::kFailed) fail("{} could not be measured: {}", to_text(m.point), m.reason);
    }
  }

 private:
  void check_tasks() const {
    std::vector<std::string> names;
    for (const Task& task : tasks()) names.push_back(task.name);
    for (const std::string& task : tasks_) parse_choice("--tasks", task, names);
  }

  // Sorted by weights, which are slow to load.
  std::vector<Point> points_of(const std::vector<WeightScheme>& weights, const std::vector<KvScheme>& schemes) const {
    std::vector<Point> points;
    for (const WeightScheme& w : weights) {
      for (const KvScheme& scheme : schemes) {
        for (const int chunk : chunks_) points.push_back({to_text(w), to_text(scheme), chunk});
      }
    }
    return points;
  }

  Measurement measure(Evaluator& evaluator, const Point& point, Progress& progress, size_t done, Study* study) const {
    const auto watch = [&](double fraction, const std::string& what) {
      progress.update(static_cast<double>(done) + fraction, fmt::format("{}: {}", to_text(point), what));
    };
    Measurement measurement = kept(evaluator, point, study);
    if (measurement.values.empty()) measurement = evaluator.measure(point, watch);
    if (options_.needles > 0 && measurement.state == State::kDone) evaluator.measure_tasks(measurement, watch);
    if (study != nullptr) study->record(measurement);
    return measurement;
  }

  // What the study holds of this point, measured in the same way; without values if it has nothing that is complete.
  Measurement kept(const Evaluator& evaluator, const Point& point, const Study* study) const {
    if (study == nullptr) return {};
    Regime regime = evaluator.regime();
    regime.order = order_of(point);
    for (const Measurement& m : study->all(regime)) {
      const bool has_tasks = options_.needles == 0 || !std::isnan(m.value("needle"));
      if (m.point == point && m.state == State::kDone && has_tasks) return m;
    }
    return {};
  }

  ModelOptions model_;
  WeightOptions weights_;
  KvOptions kv_;
  TextOptions texts_;
  EvalOptions options_;
  std::vector<int> chunks_ = {256};
  std::vector<std::string> tasks_;
  int limit_ = 16, scored_ = 0;
  std::string study_, haystack_, format_ = "md";
};

}  // namespace

std::unique_ptr<Command> make_eval() { return std::make_unique<Eval>(); }

}  // namespace kvpareto
