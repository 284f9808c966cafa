// One measurement for each configuration asked for.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "cli/task_report.h"
#include "eval/evaluator.h"
#include "eval/reference_store.h"
#include "eval/task.h"
#include "study/measurement_json.h"
#include "study/screening.h"

namespace kvpareto {
namespace {

constexpr int kDefaultScored = 512;
// What a screening compares 16 bit with: loses some 1e-4 nats on any model tried, also on those with large key biases.
constexpr const char* kNearlyExact = "k8t32.pre.v8g32";

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : tasks()) names.push_back(task.name);
  return names;
}

class Eval : public Command {
 public:
  About about() const override {
    return {"eval",
            "measure configurations one by one",
            "Measures each configuration: memory as allocated, divergence from the 16-bit baseline through the packed "
            "cache (prefill, then the following tokens teacher-forced in short steps), speed, and tasks if asked for, "
            "with paired differences from the 16-bit cache (k16v16) where that is among them. --tokens measures on "
            "exactly the given ids, so that other programs' runs can be matched token by token. Tasks: " +
                join(task_names(), " ") + ".",
            {"eval -m model.gguf --kv k8v8,k4v4", "eval -m model.gguf -w w8g128,w4g128e8 --kv k16v16,k8v8",
             "eval -m model.gguf -ctk int8 -ctv int4,int2 --text book.txt -o csv",
             "eval -m model.gguf --kv k4v4 --tokens ids.json --prefill 4096 --step 128 -o json",
             "eval -m model.gguf --kv k16v16,k8v4 --texts 0 --tasks gsm8k,mmlu,hotpotqa --limit 100 --study s.db"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    weights_.declare(options);
    model_.declare_calibration(options);
    kv_.declare(options);
    options.text("--reference", "FILE", reference_,
                 "the model whose 16-bit results divergence is from, a GGUF file or a folder [this one]");
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
    options.integer("--decoded", options_.decoded, {0, kMostContext},
                    "tokens decoded one by one after the prefill, for the speed; 0: none");
    texts_.fewest = 0;
    texts_.declare(options);
    options.text("--tokens", "FILE", texts_.token_file, "measure on exactly these ids: a JSON array of arrays");
    options.heading("Tasks");
    TaskOptions& tasks = options_.tasks;
    options.list("--tasks", "LIST", tasks.tasks, "tasks to put, from the list above [none]");
    options.integer("--limit", tasks.limit, {1, 1000000}, "samples of each task at most");
    options.choice("--split", split_, split_names(),
                   "which samples: what a search may steer by, what verifies it, or what is fitted to never overlap");
    options.integers("--length", tasks.lengths, {64, kMostContext},
                     "tokens of a synthetic sample, several in turn; of a window of perplexity [2048, or the model's]");
    options.integer("--longest", tasks.longest, {64, kMostContext},
                    "tokens of any sample; longer documents lose their middle [what the model was trained for]");
    options.integer("-np,--parallel", tasks.at_once, {1, 256}, "samples in flight at once");
    options.text("--data", "DIR", tasks.data, "evaluation sets, as tools/fetch_data.py lays them out [$KVPARETO_DATA]");
    options.flag(
        "--screen", screen_,
        "say which tasks the model can do at 16 bit (all whose data are there, if --tasks names none), and stop");
    options.text("--haystack", "FILE", haystack_, "hide the needles in this text [text that the program writes]");
    options.text("--log-samples", "FILE", log_, "write every prompt, token id, answer and score: a JSON object a line");
    model_.declare_machine(options);
  }

  void run() override {
    for (const std::string& task : options_.tasks.tasks) find_task(task);
    if (screen_) {
      texts_.texts = 0;
      kv_ = {};
      weights_ = {};
      chunks_.resize(1);
    }
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    const std::vector<WeightScheme> weights = weights_.schemes(*checkpoint, shape);
    std::vector<KvScheme> schemes = kv_.schemes(shape);
    if (screen_) schemes.push_back(parse_scheme(kNearlyExact));
    options_.scored = scored_ > 0 || !texts_.token_file.empty() ? scored_ : kDefaultScored;
    if (texts_.texts == 0 && options_.context == 0) options_.context = std::min(kDefaultContext, shape.context);
    const int needed = texts_.texts == 0 ? 0 : options_.prefill + options_.scored;
    check_context(std::max(options_.context, needed), shape, model_.path);
    require_writable(log_);
    std::unique_ptr<Study> study = study_.empty() ? nullptr : std::make_unique<Study>(study_);
    const LoadedModel loaded = load(model_);
    set_tasks(loaded);
    const std::unique_ptr<Checkpoint> original = reference_.empty() ? nullptr : open_checkpoint(reference_);
    std::optional<ModelShelf> reference;
    if (original) options_.reference = &reference.emplace(*original, *loaded.backend);
    Evaluator evaluator(*loaded.models, loaded.tokenizer,
                        texts_.obtain(loaded, options_.prefill + options_.scored + 1, study.get()), options_);
    const std::vector<Point> points = points_of(weights, schemes);
    announce(evaluator, loaded, points, study.get());
    measure_all(evaluator, points, study.get());
    if (screen_ && measured_.back().state == State::kDone && measured_.front().state == State::kDone) {
      conclude_screening(study.get());
      return;
    }
    print_result(format_ == "md" ? people_text(evaluator.tasks()) : table(measured_, find_front(measured_), format_));
    if (!log_.empty()) write_file(log_, sample_log(evaluator.tasks(), measured_, results_, loaded.tokenizer));
    for (const Measurement& m : measured_) {
      if (m.state == State::kFailed) fail("{} could not be measured: {}", to_text(m.point), m.reason);
    }
  }

 private:
  void set_tasks(const LoadedModel& loaded) {
    options_.seed = texts_.seed;
    options_.reference_folder = default_reference_folder();
    TaskOptions& tasks = options_.tasks;
    tasks.chat_template = loaded.checkpoint->vocabulary().chat_template;
    tasks.split = parse_split(split_);
    const char* data = std::getenv("KVPARETO_DATA");
    if (tasks.data.empty() && data != nullptr) tasks.data = data;
    if (!haystack_.empty()) tasks.haystack = read_file(haystack_);
    if (screen_ && tasks.tasks.empty()) tasks.tasks = tasks_to_screen(loaded);
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

  // Every task, or those that can be made from the data there are.
  std::vector<std::string> tasks_to_screen(const LoadedModel& loaded) const {
    std::vector<std::string> names;
    for (const Task& task : tasks()) {
      TaskOptions one = options_.tasks;
      one.tasks = {task.name};
      one.limit = 1;
      try {
        TaskSet(loaded.models->shape(), loaded.tokenizer, one);
        names.push_back(task.name);
      } catch (const Error& error) {
        if (error.exit() == Exit::kInterrupted) throw;
        note("{} is left out: {}", task.name, error.what());
      }
    }
    return names;
  }

  void conclude_screening(Study* study) const {
    const std::vector<Screened> screened = screen(measured_.front(), measured_.back());
    if (study != nullptr) keep_screening(*study, measured_.front().regime.model_hash, screened);
    std::vector<nlohmann::ordered_json> rows;
    for (const Screened& s : screened) {
      const TaskFacts& facts = *find_task_facts(s.task);
      rows.push_back({{"task", s.task},
                      {"score", s.score.value},
                      {"score_se", s.score.standard_error},
                      {"samples", s.score.samples},
                      {"chance", facts.chance},
                      {"unrest", s.unrest},
                      {"standing", to_text(s.standing)}});
    }
    print_result(rows_text(rows, format_, false));
  }

  // What will be done and how long it will take, before it begins.
  void announce(const Evaluator& evaluator, const LoadedModel& loaded, const std::vector<Point>& points,
                const Study* study) const {
    const TaskSet& set = evaluator.tasks();
    if (set.empty()) return;
    TaskSet::Amount all;
    size_t questions = 0;
    for (size_t i = 0; i < set.size(); ++i) questions += set.questions(i).size();
    for (const Point& point : points) {
      const auto amount = set.missing(model_key(evaluator.regime(), point), point, study);
      all.questions += amount.questions;
      all.prompt_tokens += amount.prompt_tokens;
      all.answer_tokens += amount.answer_tokens;
    }
    const std::string held = all.questions == questions * points.size()
                                 ? ""
                                 : fmt::format(" ({} in the study already)", questions * points.size() - all.questions);
    const std::string time = all.questions == 0
                                 ? "nothing to do"
                                 : "at most about " + human_seconds(set.seconds(loaded.bf16(), all, chunks_.front()));
    note("tasks: {} configurations x {} samples{}, {} tokens to read and at most {} to write: {}", points.size(),
         questions, held, all.prompt_tokens, all.answer_tokens, time);
  }

  void measure_all(Evaluator& evaluator, const std::vector<Point>& points, Study* study) {
    Progress progress("eval", static_cast<double>(points.size()), "points");
    for (const Point& point : points) measure(evaluator, point, progress, study);
  }

  void measure(Evaluator& evaluator, const Point& point, Progress& progress, Study* study) {
    const auto watch = [&](double fraction, const std::string& what) {
      progress.update(static_cast<double>(measured_.size()) + fraction, fmt::format("{}: {}", to_text(point), what));
    };
    Measurement measurement = kept(evaluator, point, study);
    if (measurement.values.empty()) {
      measurement = evaluator.measure(point, watch);
      if (study != nullptr) study->record(measurement);
    }
    results_.push_back(evaluator.measure_tasks(measurement, study, watch));
    if (study != nullptr) study->record(measurement);
    measured_.push_back(std::move(measurement));
  }

  // What the study holds of this point, measured in the same way; without values if it has nothing that is complete.
  Measurement kept(const Evaluator& evaluator, const Point& point, const Study* study) const {
    if (study == nullptr) return {};
    Regime regime = evaluator.regime();
    regime.order = order_of(point);
    for (const Measurement& m : study->all(regime)) {
      if (m.point == point && m.state == State::kDone) return m;
    }
    return {};
  }

  std::string people_text(const TaskSet& tasks) const {
    std::string text = people_table(measured_, false);
    for (const std::string& part : {task_table(measured_), part_table(tasks, measured_), depth_table(tasks, measured_),
                                    power_lines(measured_), regression_lines(measured_)}) {
      if (!part.empty()) text += "\n" + part;
    }
    return text;
  }

  ModelOptions model_;
  WeightOptions weights_;
  KvOptions kv_;
  TextOptions texts_;
  EvalOptions options_;
  std::vector<int> chunks_ = {256};
  int scored_ = 0;
  bool screen_ = false;
  std::string reference_, study_, haystack_, split_ = "all", log_, format_ = "md";
  std::vector<Measurement> measured_;
  std::vector<TaskResults> results_;  // of each of them
};

}  // namespace

std::unique_ptr<Command> make_eval() { return std::make_unique<Eval>(); }

}  // namespace kvpareto
