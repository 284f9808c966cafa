// The main job: propose, measure, record, until nothing is left or the time is up.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/search_space.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "eval/evaluator.h"
#include "eval/reference_store.h"
#include "search/sampler.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

// Seconds a search has taken, earlier runs of it included: kept in the study, so that a search that was bounded by its
// time and is started again does not begin a second helping.
class TimeSpent {
 public:
  using Clock = std::chrono::steady_clock;
  TimeSpent(Study& study, const Regime& regime, Clock::time_point start)
      : study_(study), start_(start), name_("seconds spent on " + regime_key(regime)) {
    const std::string kept = study.note(name_).value_or("0");
    std::from_chars(kept.data(), kept.data() + kept.size(), earlier_);
  }
  double seconds() const { return earlier_ + std::chrono::duration<double>(Clock::now() - start_).count(); }
  void keep() { study_.set_note(name_, fmt::format("{:.3f}", seconds())); }

 private:
  Study& study_;
  Clock::time_point start_;
  std::string name_;
  double earlier_ = 0;
};

// Evaluators on the first few of the texts: cheap measurements tell what is worth a whole one.
class Evaluators {
 public:
  Evaluators(const LoadedModel& loaded, std::vector<Text> texts, EvalOptions options)
      : loaded_(loaded), all_(std::move(texts)), options_(std::move(options)) {
    for (size_t count = 1; count <= all_.size(); ++count) {
      if (count == all_.size() || (count & (count - 1)) == 0) on(static_cast<int>(count));
    }
  }

  int texts() const { return static_cast<int>(all_.size()); }
  Evaluator& whole() { return on(texts()); }
  Evaluator& on(int texts) {
    auto& evaluator = made_[texts];
    if (evaluator == nullptr) {
      evaluator = std::make_unique<Evaluator>(*loaded_.models, loaded_.tokenizer,
                                              std::vector<Text>(all_.begin(), all_.begin() + texts), options_);
    }
    return *evaluator;
  }

  // What the study holds on any number of the texts.
  std::vector<Measurement> kept(const Study& study) const {
    std::vector<Measurement> all;
    for (const auto& [texts, evaluator] : made_) {
      const std::vector<Measurement> some = study.all(evaluator->regime());
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }

 private:
  const LoadedModel& loaded_;
  std::vector<Text> all_;
  EvalOptions options_;
  std::map<int, std::unique_ptr<Evaluator>> made_;
};

constexpr double kDemoSeconds = 270;
constexpr double kShareOfTasks = 0.25;  // of a bounded time, for the retrieval tasks of the front's points

constexpr size_t kFewestPoints = 4;  // measured even if preparing took all the time: fewer show no frontier

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
    options.integer(
        "-c,--ctx-size", context_, {16, kMostContext},
        "tokens to search at, the last of them scored [4096, or what the model was trained for if that is less]");
    options.text("--study", "FILE", study_, "where measurements are kept");
    options.text("--report", "FILE.html", report_, "the page to write; tables go beside it");
    options.number("--max-loss", max_loss_, 0, 100, "divergence in nats/token above which a configuration is broken");
    options.parsed("--max-time", "TIME",
                   "stop after so much time, earlier runs included (90s, 5m, 1h) [demo: 4.5m, else none]",
                   [this](const std::string& text) { max_seconds_ = parse_seconds("--max-time", text); });
    options.heading("Space");
    options.text("--preset,--space", "NAME|FILE.toml", space_.name,
                 "which configurations: " + join(preset_names(), ", ") + ", or your own ('kvpareto space' explains)");
    options.parsed("--sampler", "NAME",
                   "how the next one is chosen: " + join(sampler_names(), ", ") +
                       " [guided; grid where the space is a list of schemes]",
                   [this](const std::string& text) { sampler_ = parse_choice("--sampler", text, sampler_names()); });
    options.number(
        "--evaluations", evaluations_, 0, 1e6,
        "stop after so many whole measurements (one on 1 of 4 texts is a quarter); 0: when nothing is gained");
    weights_.declare(options);
    bits(options, "--k-bits", space_.k_bits, "bits of keys: 16,8,4,3,2 [the preset's]");
    bits(options, "--v-bits", space_.v_bits, "bits of values [the preset's]");
    options.list("--groups", "LIST", space_.groups,
                 "channels that share a scale: 32,64,128 or h, the whole head [the preset's]");
    options.integers("--chunks", space_.chunks, kChunks, "prefill chunks to try on the best schemes [the preset's]");
    texts_.declare(options);
    options.integer("--needles", needles_, {0, 100000},
                    "samples of each retrieval task for the frontier's points; 0: none");
    model_.declare_machine(options);
  }

  void run() override {
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    if (context_ == 0) context_ = std::min(kDefaultContext, shape.context);
    check_context(context_, shape, model_.path);
    for (const WeightScheme& scheme : weights_.schemes(*checkpoint, shape)) space_.weights.push_back(to_text(scheme));
    make_space(space_, *checkpoint, *model_.make(), context_);  // refuses before anything slow begins
    if (space_.name == "demo" && max_seconds_ == 0) max_seconds_ = kDemoSeconds;
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

  EvalOptions eval_options(const LoadedModel& loaded) const {
    EvalOptions options;
    options.reference_folder = default_reference_folder();
    options.scored = std::min(512, context_ / 4);
    options.prefill = context_ - options.scored;
    options.context = context_;
    if (needles_ > 0) {
      options.tasks.tasks = {"needle", "needle_multikey"};
      options.tasks.limit = needles_;
      options.tasks.split = Split::kSearch;
      options.tasks.lengths = {std::min(1024, context_ / 2)};
      options.tasks.chat_template = loaded.checkpoint->vocabulary().chat_template;
    }
    options.seed = texts_.seed;
    return options;
  }

  void search(Study& study) {
    const auto start = TimeSpent::Clock::now();
    const LoadedModel loaded = load(model_);
    const Space space = make_space(space_, *loaded.checkpoint, *loaded.backend, context_).space;
    const std::string name = sampler_.empty() ? usual_sampler(space) : sampler_;
    Evaluators evaluators(loaded, texts_.obtain(loaded, context_ + 1, &study), eval_options(loaded));
    Evaluator& whole = evaluators.whole();
    TimeSpent spent(study, whole.regime(), start);
    const auto sampler = make_sampler(name, space, {evaluators.texts(), texts_.seed, evaluations_});
    measure_points(evaluators, *sampler, study, spent);
    std::vector<Measurement> measured = all_choices(study, whole.regime());
    if (needles_ > 0) measure_tasks(whole, study, spent, measured);
    measured = all_choices(study, whole.regime());
    keep_curves(study, measured, *loaded.checkpoint, *loaded.backend);
    conclude(study, measured);
  }

  // A list of schemes has no parts to learn from that a grid would not walk as fast.
  static std::string usual_sampler(const Space& space) {
    const bool is_list =
        std::any_of(space.axes.begin(), space.axes.end(), [](const Axis& axis) { return axis.part == "scheme"; });
    return is_list ? "grid" : "guided";
  }

  // Kept then, so that the same command given again finds it so too.
  bool time_is_up(TimeSpent& spent, double share) const {
    const bool up = max_seconds_ > 0 && spent.seconds() >= share * max_seconds_;
    if (up) spent.keep();
    return up;
  }

  void measure_points(Evaluators& evaluators, Sampler& sampler, Study& study, TimeSpent& spent) const {
    std::vector<Measurement> measured = evaluators.kept(study);
    const double share = needles_ > 0 ? 1 - kShareOfTasks : 1;
    Progress progress("search", static_cast<double>(sampler.expected()), "points");
    if (max_seconds_ > 0) progress.set_limit(share * max_seconds_ - spent.seconds());
    progress.skip(static_cast<double>(measured.size()));
    for (auto trials = sampler.propose(measured); !trials.empty(); trials = sampler.propose(measured)) {
      progress.set_total(static_cast<double>(std::max(sampler.expected(), measured.size() + trials.size())));
      for (const auto& [point, texts] : trials) {
        if (measured.size() >= kFewestPoints && time_is_up(spent, share)) return;
        measured.push_back(evaluators.on(texts).measure(point, [&](double fraction, const std::string& what) {
          progress.update(static_cast<double>(measured.size()) + fraction, fmt::format("{} {}", name_of(point), what));
        }));
        study.record(measured.back());
        spent.keep();
        progress.update(static_cast<double>(measured.size()), result_text(measured.back()));
      }
    }
  }

  // Retrieval for the baseline and the front, cheapest last: what a person would choose from.
  void measure_tasks(Evaluator& evaluator, Study& study, TimeSpent& spent, std::vector<Measurement>& measured) const {
    const Findings findings = read_study({.measurements = measured, .curves = {}, .max_loss = max_loss_});
    std::vector<size_t> wanted;
    const auto want = [&](size_t i) {
      if (std::find(wanted.begin(), wanted.end(), i) == wanted.end()) wanted.push_back(i);
    };
    if (findings.baseline) want(*findings.baseline);
    if (findings.recommended) want(*findings.recommended);
    std::for_each(findings.front.members.rbegin(), findings.front.members.rend(), want);
    Progress progress("retrieval", static_cast<double>(wanted.size()), "points");
    if (max_seconds_ > 0) progress.set_limit(max_seconds_ - spent.seconds());
    for (size_t done = 0; done < wanted.size(); ++done) {
      Measurement& m = measured[wanted[done]];
      if (!std::isnan(m.value("needle"))) continue;
      if (time_is_up(spent, 1)) break;
      Measurement with_tasks = m;
      evaluator.measure_tasks(with_tasks, &study, [&](double fraction, const std::string& what) {
        progress.update(static_cast<double>(done) + fraction, fmt::format("{} {}", name_of(m.point), what));
      });
      if (with_tasks.state == State::kFailed) {
        note("{}: retrieval could not be measured: {}", to_text(m.point), with_tasks.reason);
        return;
      }
      m = with_tasks;
      study.record(m);
      spent.keep();
    }
  }

  static std::string name_of(const Point& point) {
    return point.weights == Point().weights ? point.kv : point.weights + " " + point.kv;
  }

  static std::string result_text(const Measurement& m) {
    if (m.state == State::kFailed) return fmt::format("{} failed: {}", to_text(m.point), m.reason);
    return fmt::format("{}: {} at {:.4f} nats", to_text(m.point), human_bytes(m.value("peak_bytes")),
                       m.value("kld_mean"));
  }

  void conclude(const Study& study, const std::vector<Measurement>& measured) const {
    const auto failed =
        std::find_if(measured.begin(), measured.end(), [](const Measurement& m) { return m.state == State::kFailed; });
    const ReportInput input = report_input(study, measured, max_loss_);
    const Findings findings = read_study(input);
    if (findings.count_complete() == 0)
      fail("nothing could be measured: {}", failed == measured.end() ? "the time was up" : failed->reason);
    const std::string written = write_report(report_, input);
    print_result(front_table(measured, findings.front) + "\n" + recommendation(findings, model_.path) + written + "\n");
    if (failed != measured.end()) note("{} could not be measured: {}", to_text(failed->point), failed->reason);
  }

  ModelOptions model_;
  WeightOptions weights_;
  SpaceOptions space_;
  TextOptions texts_;
  int context_ = 0, needles_ = 4;
  double max_loss_ = kDefaultMaxLoss, max_seconds_ = 0, evaluations_ = 0;  // 0: no limit
  std::string study_ = kDefaultStudy, report_ = "kvpareto-report.html", sampler_;
};

}  // namespace

std::unique_ptr<Command> make_search() { return std::make_unique<Search>(); }

}  // namespace kvpareto
