// The main job: propose, measure, record, until nothing is left or the time is up.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/longest_context.h"
#include "cli/output.h"
#include "cli/paper_table.h"
#include "cli/search_space.h"
#include "cli/search_stages.h"
#include "cli/search_tasks.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "eval/evaluator.h"
#include "eval/reference_store.h"
#include "eval/task.h"
#include "search/sampler.h"
#include "search/sensitivity.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

constexpr double kDemoSeconds = 270;
constexpr double kShareOfTasks = 0.25;  // of a bounded time, for the retrieval tasks of the front's points

constexpr double kShareOfVerifying = 0.15;  // of a bounded time
// Of a text that is searched on, if nothing else is said: schemes rank alike at more, and finalists are verified there.
constexpr int kSearchedTokens = 2048;
constexpr int kFinalists = 3;  // verified, if nothing else is said: the recommended one and its neighbours
constexpr int kPutToTasks = 3, kEveryMember = 1 << 20;  // points beside the baseline

class Search : public Command {
 public:
  About about() const override {
    return {
        "search",
        "find the frontier of memory against divergence",
        "Measures KV-cache precisions, group sizes and prefill chunks of a model at one context length, keeps every "
        "measurement in a study (SQLite), and ends with the frontier as a table, a recommendation, the command that "
        "uses it, and a report. It can be stopped at any moment (Ctrl-C, kill -9) and goes on where it was when the "
        "same command is given again. The 16-bit baseline is always measured first.",
        {"search -m model.gguf", "search -m model.gguf -c 8192 --text book.txt --max-time 30m",
         "search -m model.gguf --k-bits 8,4 --v-bits 8,4,2 --groups 32,64 --chunks 128-512+128",
         "search -m model.gguf --space per-layer -c 8192", "search -m model.gguf --space demo --report demo.html"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.integer("-c,--ctx-size", context_, {16, kMostContext},
                    "tokens that memory is counted and finalists are verified at [4096, or what the model was trained "
                    "for if that is less]");
    options.text("--study", "FILE", study_, "where measurements are kept");
    options.text("--report", "FILE.html", report_, "the page to write; tables go beside it");
    options.parsed("--max-time", "TIME",
                   "stop after so much time, earlier runs included (90s, 5m, 1h) [demo: 4.5m, else none]",
                   [this](const std::string& text) { max_seconds_ = parse_seconds("--max-time", text); });
    options.heading("Question");
    options.number("--max-loss", max_loss_, 0, 100, "divergence in nats/token above which a configuration is broken");
    options.parsed("--mem-budget", "SIZE",
                   "recommend the most accurate that takes no more: 2GiB, 900MiB; tells the longest context too",
                   [this](const std::string& text) { limits_.most_bytes = parse_bytes("--mem-budget", text); });
    options.parsed("--max-drop", "PERCENT", "recommend the smallest whose task scores drop no more: 1%",
                   [this](const std::string& text) { limits_.max_drop = parse_percent("--max-drop", text); });
    options.flag("--least", least_, "recommend the smallest within --max-loss, not the knee");
    options.number("--min-speed", limits_.min_speed, 0, 1e9, "recommend none that decodes fewer tokens/s; 0: any");
    options.heading("Space");
    options.text("--preset,--space", "NAME|FILE.toml", space_.name,
                 "which configurations: " + join(preset_names(), ", ") + ", or your own ('kvpareto space' explains)");
    options.parsed("--sampler", "NAME",
                   "how the next one is chosen: " + join(sampler_names(), ", ") +
                       " [guided; grid where the space is a list of schemes]",
                   [this](const std::string& text) { sampler_ = parse_choice("--sampler", text, sampler_names()); });
    options.number(
        "--evaluations", evaluations_, 0, 1e6,
        fmt::format(
            "stop after so many whole measurements (one on 1 of 4 texts is a quarter); 0: when nothing is gained "
            "[{} of quick, 0 of others]",
            usual_evaluations("quick")));
    weights_.declare(options);
    model_.declare_calibration(options);
    bits(options, "--k-bits", space_.k_bits, "bits of keys: 16,8,4,3,2 [the preset's]");
    bits(options, "--v-bits", space_.v_bits, "bits of values [the preset's]");
    options.list("--groups", "LIST", space_.groups,
                 "channels that share a scale: 32,64,128 or h, the whole head [the preset's]");
    options.integers("--chunks", space_.chunks, kChunks, "prefill chunks to try on the best schemes [the preset's]");
    texts_.declare(options);
    options.list("--tasks", "LIST", tasks_,
                 "tasks to put to the best points [those that 'eval --screen' found usable, as the study keeps it; "
                 "else needle,needle_multikey]");
    options.integer("--needles", needles_, {0, 100000}, "samples of each task; 0: none");
    options.parsed(
        "--verify", "N",
        "finalists measured again on held-out texts, those that do not hold up leave the frontier; 0: none [3; "
        "demo: 0]",
        [this](const std::string& text) {
          verify_ = static_cast<int>(parse_integer("--verify", text, {0, 1000}));
        });
    options.integer("--prefill", prefill_, {1, kMostContext},
                    "tokens before the scored ones [what the context holds, 1536 at most; for finalists all it holds]");
    options.integer("--scored", scored_, {1, kMostContext},
                    "tokens scored in each text [512, or a quarter of the context]");
    model_.declare_machine(options);
  }

  void run() override {
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    if (context_ == 0) context_ = std::min(kDefaultContext, shape.context);
    check_context(context_, shape, model_.path);
    if (!weights_.weights.empty()) {
      for (const WeightScheme& scheme : weights_.schemes(*checkpoint, shape)) space_.weights.push_back(to_text(scheme));
    }
    for (const std::string& task : tasks_) find_task(task);
    space_.most_bytes = limits_.most_bytes;
    make_space(space_, *checkpoint, *model_.make(), context_);  // refuses before anything slow begins
    if (limits_.max_drop > 0 && needles_ == 0) fail_usage("--max-drop: wanted samples of the tasks, found --needles 0");
    if (space_.name == "demo" && max_seconds_ == 0) max_seconds_ = kDemoSeconds;
    if (verify_ < 0) verify_ = space_.name == "demo" ? 0 : kFinalists;
    require_writable(report_);
    Study study(study_);
    try {
      search(study);
    } catch (const Error& error) {
      if (error.exit() != Exit::kInterrupted) throw;
      throw Error(Exit::kInterrupted,
                  fmt::format("interrupted; {} measurements are kept in {}, and the same command goes on from there",
                              study.all().size(), study_));
    }
  }

 private:
  static void bits(Options& options, const std::string& name, std::vector<int>& bits, const std::string& help) {
    options.parsed(name, "LIST", help, [name, &bits](const std::string& text) {
      for (const std::string& part : parse_list(name, text)) {
        bits.push_back(std::stoi(parse_choice(name, part, {"16", "8", "4", "3", "2"})));
      }
    });
  }

  EvalOptions eval_options(const LoadedModel& loaded, const Study& study) const {
    EvalOptions options;
    options.reference_folder = default_reference_folder();
    options.scored = scored_ > 0 ? scored_ : std::min(512, context_ / 4);
    options.prefill = prefill_ > 0 ? prefill_ : std::min(context_, kSearchedTokens) - options.scored;
    options.context = context_;
    options.seed = texts_.seed;
    if (needles_ == 0) return options;
    const ChosenTasks chosen = choose_tasks(tasks_, kept_screening(study, fingerprint(loaded.models->fingerprint())));
    note("{}", chosen.note);
    const char* data = std::getenv("KVPARETO_DATA");
    options.tasks = {.tasks = chosen.tasks,
                     .limit = needles_,
                     .split = Split::kSearch,
                     .lengths = {std::min(1024, context_ / 2)},
                     .longest = context_,
                     .data = data == nullptr ? "" : data,
                     .chat_template = loaded.checkpoint->vocabulary().chat_template};
    return options;
  }

  void search(Study& study) {
    const auto start = TimeSpent::Clock::now();
    const LoadedModel loaded = load(model_);
    const Space space = make_space(space_, *loaded.checkpoint, *loaded.backend, context_).space;
    const std::string name = sampler_.empty() ? usual_sampler(space) : sampler_;
    const EvalOptions options = eval_options(loaded, study);
    const int tokens = options.prefill + options.scored + 1;
    const TextOptions texts = tuning_texts(texts_);
    Evaluators evaluators(loaded, texts.obtain(loaded, tokens, &study), options);
    const Regime regime = evaluators.whole().regime();
    TimeSpent spent(study, regime, start, max_seconds_);
    const bool has_tasks = !options.tasks.tasks.empty();
    const double share = 1 - (has_tasks ? kShareOfTasks : 0) - (verify_ > 0 ? kShareOfVerifying : 0);
    SearchSettings settings{.texts = evaluators.texts(),
                            .seed = texts_.seed,
                            .budget = budget(space_.name),
                            .short_cost = evaluators.short_cost(),
                            .elsewhere = evaluators.elsewhere(study),
                            .most_bytes = limits_.most_bytes};
    const auto sampler = make_sampler(name, space, settings);
    if (wants_probes(space, study, regime.model_hash)) {
      note(
          "few layers of this model were probed alone: 'kvpareto sensitivity' with the same --study tells a search by "
          "layer where bits matter");
    }
    measure_points(evaluators, *sampler, study, spent, share);
    if (space_.name == "paper") {
      // What a larger space adds to the paper's grid.
      SpaceOptions quick = space_;
      quick.name = "quick";
      // The 4-bit linears are made by then.
      if (quick.weights.empty()) quick.weights = {"w8g128e8", "w4g128e8.awq"};
      settings.budget = budget(quick.name);
      const Space more = make_space(quick, *loaded.checkpoint, *loaded.backend, context_).space;
      measure_points(evaluators, *make_sampler("guided", more, settings), study, spent, share);
    }
    if (has_tasks) {
      const int most = limits_.max_drop > 0 ? kEveryMember : kPutToTasks;
      measure_tasks(evaluators, study, spent, verify_ > 0 ? 1 - kShareOfVerifying : 1, question(), most);
    }
    if (verify_ > 0 && !spent.is_up(1)) verify_finalists(evaluators, loaded, study, spent, options);
    const std::vector<Measurement> measured = all_choices(study, regime);
    keep_curves(study, measured, *loaded.checkpoint, *loaded.backend);
    conclude(study, measured, *loaded.checkpoint, *loaded.backend);
  }

  double budget(const std::string& space) const { return evaluations_ < 0 ? usual_evaluations(space) : evaluations_; }

  void verify_finalists(Evaluators& evaluators, const LoadedModel& loaded, Study& study, TimeSpent& spent,
                        const EvalOptions& options) const {
    EvalOptions whole = options;
    if (prefill_ == 0) whole.prefill = context_ - options.scored;
    whole.tasks = {};
    std::vector<Text> texts =
        held_out_texts(texts_, evaluators.all(), loaded, whole.prefill + options.scored + 1, &study);
    if (texts.empty()) {
      note("nothing is verified: there is no more text than what the search was made on");
      return;
    }
    Evaluator held_out(*loaded.models, loaded.tokenizer, std::move(texts), whole);
    verify(held_out, evaluators.whole().regime(), study, spent, question(), verify_);
  }

  // What a recommendation must keep to. A budget asks for the best within it, a drop for the least that keeps to it.
  ReportInput question() const {
    ReportInput input{.measurements = {}, .curves = {}, .max_loss = max_loss_};
    input.limits = limits_;
    if (limits_.max_drop > 0 || least_) {
      input.goal = Goal::kLeastMemory;
    } else if (limits_.most_bytes > 0) {
      input.goal = Goal::kBestQuality;
    }
    return input;
  }

  // Whether keys are chosen layer by layer, most of which the study knows nothing of by themselves. (A few points of a
  // search look like probes.)
  static bool wants_probes(const Space& space, const Study& study, const std::string& model_hash) {
    const auto layers =
        std::count_if(space.axes.begin(), space.axes.end(), [](const Axis& axis) { return axis.part == "keys"; });
    std::set<int> probed;
    for (const Measurement& m : study.all()) {
      const auto probe = layer_probe(m.point.kv);
      if (probe && m.regime.model_hash == model_hash) probed.insert(probe->layer);
    }
    return layers > 1 && 2 * static_cast<ptrdiff_t>(probed.size()) <= layers;
  }

  // A list of schemes has no parts to learn from that a grid would not walk as fast.
  static std::string usual_sampler(const Space& space) {
    const bool is_list =
        std::any_of(space.axes.begin(), space.axes.end(), [](const Axis& axis) { return axis.part == "scheme"; });
    return is_list ? "grid" : "guided";
  }

  void conclude(const Study& study, const std::vector<Measurement>& measured, const Checkpoint& checkpoint,
                const Backend& backend) const {
    const auto failed =
        std::find_if(measured.begin(), measured.end(), [](const Measurement& m) { return m.state == State::kFailed; });
    ReportInput input = report_input(study, measured, max_loss_);
    input.limits = question().limits;
    input.goal = question().goal;
    const Findings findings = read_study(input);
    if (findings.count_complete() == 0)
      fail("nothing could be measured: {}", failed == measured.end() ? "the time was up" : failed->reason);
    const std::string written = write_report(report_, input);
    print_result(front_table(findings.points, findings.front) + "\n" + recommendation(findings, model_.path) +
                 longest_contexts(findings, checkpoint, backend) +
                 (space_.name == "paper" ? "\n" + paper_table(input, checkpoint, backend) : "") + written + "\n");
    if (failed != measured.end()) note("{} could not be measured: {}", to_text(failed->point), failed->reason);
  }

  // Of the configurations that keep to the limit of divergence, how far each goes within the budget.
  std::string longest_contexts(const Findings& findings, const Checkpoint& checkpoint, const Backend& backend) const {
    if (limits_.most_bytes <= 0) return {};
    const ModelShape shape = read_shape(checkpoint);
    const Measurement* best = nullptr;
    int longest = 0;
    for (const size_t i : findings.front.members) {
      Limits limits = limits_;
      limits.most_bytes = 0;
      limits.max_loss = max_loss_;
      const Measurement* baseline = findings.baseline ? &findings.points[*findings.baseline] : nullptr;
      if (!keeps_to(limits, findings.points[i], baseline)) continue;
      const Point& point = findings.points[i].point;
      const WeightPlan weights = plan_weights(checkpoint, shape, parse_weights(point.weights));
      const int fits =
          longest_context(shape, weights, backend, parse_scheme(point.kv), point.chunk, limits_.most_bytes);
      if (fits <= longest) continue;
      longest = fits;
      best = &findings.points[i];
    }
    if (best == nullptr) return {};
    return fmt::format("Longest context within {}: {} tokens{} with {} (accuracy was measured at {}).\n",
                       human_bytes(limits_.most_bytes), longest,
                       longest == shape.context ? ", all the model was trained for," : "", to_text(best->point),
                       context_);
  }

  ModelOptions model_;
  WeightOptions weights_;
  SpaceOptions space_;
  TextOptions texts_;
  Limits limits_;
  bool least_ = false;
  int context_ = 0, needles_ = 4, verify_ = -1, prefill_ = 0, scored_ = 0;
  double max_loss_ = kDefaultMaxLoss, max_seconds_ = 0;  // seconds 0: no limit
  double evaluations_ = -1;                              // -1: as usual in that space
  std::string study_ = kDefaultStudy, report_ = "kvpareto-report.html", sampler_;
  std::vector<std::string> tasks_;
};

}  // namespace

std::unique_ptr<Command> make_search() { return std::make_unique<Search>(); }

}  // namespace kvpareto
