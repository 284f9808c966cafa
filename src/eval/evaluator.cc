#include "eval/evaluator.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <new>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "eval/divergence.h"
#include "eval/run_task.h"
#include "kv/scheme.h"

namespace kvpareto {
namespace {

using Clock = std::chrono::steady_clock;

// Positions whose logits are made at once: one would read the whole head for every position. They belong to the
// instrument, not to the configuration: a session of their own holds them, and peak_bytes is what `run` would take.
constexpr int kScoredRows = 16;
// Tokens decoded one by one for decode_ts, at the depth of the prefill.
constexpr int kDecodeTokens = 16;
// What one decoded and one scored token cost, in prefill tokens; for the progress bar alone.
constexpr double kDecodeCost = 8, kScoreCost = 2;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string utc_text(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%FT%TZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

// Tells the watcher the fraction of the work that is done.
class Work {
 public:
  Work(double total, const Evaluator::Watcher& watch) : total_(total), watch_(watch) {}

  // `part` of the work that follows what was finished.
  void at(double part, const std::string& note) const {
    stop_if_interrupted();
    if (watch_) watch_(std::min(1.0, (done_ + part) / total_), note);
  }
  void finish(double part) { done_ += part; }

 private:
  double total_, done_ = 0;
  const Evaluator::Watcher& watch_;
};

// What one pass of a text through a cache leaves.
struct Pass {
  std::vector<float> hidden;  // [scored, hidden] after the final norm
  double prefill_seconds = 0, decode_seconds = 0, seconds = 0;
};

// The one catch around one measurement.
template <typename Body>
void record_failure(Measurement& measurement, Body body) {
  const auto start = Clock::now();
  try {
    body();
  } catch (const Error& error) {
    if (error.exit() == Exit::kInterrupted) throw;
    measurement.state = State::kFailed;
    measurement.reason = error.what();
  } catch (const std::bad_alloc&) {
    measurement.state = State::kFailed;
    measurement.reason = "no memory left for this configuration";
  }
  measurement.provenance.seconds += seconds_since(start);
}

// A session that lends its head.
const SessionOptions kScorer{KvScheme(), kScoredRows, kScoredRows, kScoredRows};

bool has_bf16_head(const WeightScheme& scheme) { return scheme.table == WeightChoice(); }

Estimate exact(double value) { return {value, 0, 1}; }

}  // namespace

struct Evaluator::Parts {
  ModelShelf& models;
  const Tokenizer& tokenizer;
  std::vector<Text> texts;
  EvalOptions options;
  Regime regime;
  std::vector<std::vector<Sample>> samples;    // of every task, in the order of tasks()
  std::vector<std::vector<float>> references;  // hidden states of the 16-bit baseline, a text each; empty until made

  int scored(const Text& text) const {
    return options.scored > 0 ? options.scored : static_cast<int>(text.tokens.size()) - options.prefill;
  }
  double cost(const Text& text) const {
    return options.prefill + kDecodeCost * std::min(kDecodeTokens, scored(text)) + kScoreCost * scored(text);
  }
  double total_cost() const {
    double sum = 0;
    for (const Text& text : texts) sum += cost(text);
    return sum;
  }

  void check_texts() const;
  void describe();
  void make_samples();
  Pass pass(Session& session, const Text& text, const Work& work, const std::string& note) const;
  void make_references(Work& work);
  void record_memory(const Session& session, Measurement& measurement) const;
  void run(Measurement& measurement, const Watcher& watch);
  void run_tasks(Measurement& measurement, const Watcher& watch) const;
};

void Evaluator::Parts::check_texts() const {
  if (options.prefill < 0 || options.scored < 0 || options.step < 1) {
    fail_usage("wanted prefill and scored tokens of at least 0 and steps of at least 1, found {}, {} and {}",
               options.prefill, options.scored, options.step);
  }
  if (texts.empty()) fail_usage("wanted at least one text to measure on, found none");
  const size_t least = static_cast<size_t>(options.prefill) + static_cast<size_t>(std::max(1, options.scored));
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<int32_t>& tokens = texts[i].tokens;
    if (tokens.size() < least) {
      fail_usage("{}: wanted texts of at least {} tokens (prefill {} + scored {}), found {} in text {}",
                 texts[i].origin, least, options.prefill, std::max(1, options.scored), tokens.size(), i);
    }
    for (const int32_t id : tokens) {
      if (id >= 0 && id < models.shape().vocabulary) continue;
      fail_usage("{}: wanted token ids 0 to {}, found {} in text {}", texts[i].origin, models.shape().vocabulary - 1,
                 id, i);
    }
  }
}

void Evaluator::Parts::describe() {
  int scored_most = 0;
  uint64_t hash = 0;
  for (const Text& text : texts) {
    scored_most = std::max(scored_most, scored(text));
    hash = hash_bytes(text.tokens.data(), text.tokens.size() * sizeof(int32_t), hash + text.tokens.size());
  }
  const int needed = options.prefill + scored_most;
  regime.model = models.file();
  regime.model_hash = fingerprint(models.fingerprint());
  regime.context = options.context == 0 ? needed : options.context;
  regime.prefill = options.prefill;
  regime.scored = scored_most;
  regime.step = options.step;
  regime.texts = static_cast<int>(texts.size());
  regime.text_hash = fingerprint(hash);
  regime.text_origin = texts.front().origin;
  regime.seed = options.seed;
  if (regime.context < needed) {
    fail_usage("wanted a context of at least {} tokens (prefill {} + scored {}), found {}", needed, options.prefill,
               scored_most, regime.context);
  }
  if (regime.context > models.shape().context) {
    fail_usage("{}: wanted a context of at most {} tokens, found {}; prefill and score fewer", models.file(),
               models.shape().context, regime.context);
  }
}

void Evaluator::Parts::make_samples() {
  if (options.needles < 1) return;
  if (options.needle_tokens > models.shape().context) {
    fail_usage("{}: wanted retrieval samples of at most {} tokens, found {}", models.file(), models.shape().context,
               options.needle_tokens);
  }
  const TaskSetting setting{
      options.needles, options.needle_tokens, options.seed, options.haystack, [&](const Generate& request) {
        return static_cast<int64_t>(request_tokens(request, tokenizer, options.chat_template).size());
      }};
  for (const Task& task : tasks()) samples.push_back(task.make(setting));
}

Pass Evaluator::Parts::pass(Session& session, const Text& text, const Work& work, const std::string& note) const {
  const std::span<const int32_t> tokens(text.tokens);
  const auto prefill = static_cast<size_t>(options.prefill), count = static_cast<size_t>(scored(text));
  Pass result;
  session.rewind({0});
  const auto start = Clock::now();
  if (prefill > 0) {
    session.prefill(tokens.first(prefill), [&](int64_t fed) { work.at(static_cast<double>(fed), note); });
  }
  result.prefill_seconds = seconds_since(start);

  const KvCache::Mark filled = session.mark();
  const auto decode_start = Clock::now();
  const size_t decoded = std::min<size_t>(kDecodeTokens, count);
  for (size_t i = 0; i < decoded; ++i) session.next(tokens.subspan(prefill + i, 1));
  result.decode_seconds = seconds_since(decode_start) / static_cast<double>(decoded);
  session.rewind(filled);

  const auto score_start = Clock::now();
  const auto step = static_cast<size_t>(std::min(options.step, session.options().chunk));
  const double before = options.prefill + kDecodeCost * static_cast<double>(decoded);
  for (size_t done = 0; done < count; done += step) {
    work.at(before + static_cast<double>(done), note);
    const std::vector<float> states = session.hidden(tokens.subspan(prefill + done, std::min(step, count - done)));
    result.hidden.insert(result.hidden.end(), states.begin(), states.end());
  }
  result.seconds = result.prefill_seconds + seconds_since(score_start);
  return result;
}

void Evaluator::Parts::make_references(Work& work) {
  const Point baseline;
  const SessionOptions wanted{parse_scheme(baseline.kv), regime.context, baseline.chunk};
  Session session(models.at(parse_weights(baseline.weights)), wanted);
  std::vector<std::vector<float>> made;
  for (size_t i = 0; i < texts.size(); ++i) {
    made.push_back(pass(session, texts[i], work, fmt::format("baseline, text {}/{}", i + 1, texts.size())).hidden);
    work.finish(cost(texts[i]));
  }
  references = std::move(made);
}

void Evaluator::Parts::record_memory(const Session& session, Measurement& measurement) const {
  const auto record = [&](const char* name, size_t bytes) {
    measurement.values[name] = exact(static_cast<double>(bytes));
  };
  const MemoryParts parts = session.bytes();
  record("weights_bytes", parts.weights);
  record("kv_bytes", parts.kv);
  record("scratch_bytes", parts.scratch);
  record("logits_bytes", parts.logits);
  record("peak_bytes", parts.total());
  const Model& model = session.model();
  record("predicted_peak_bytes", session_bytes(model.shape, model.weights, *model.backend, session.options()).total());
  measurement.values["effective_bits"] = exact(effective_bits(session.options().scheme, session.cache().shape()));
}

void Evaluator::Parts::run(Measurement& measurement, const Watcher& watch) {
  const Point& point = measurement.point;
  const SessionOptions wanted{parse_scheme(point.kv), regime.context, point.chunk};
  const WeightScheme weights = parse_weights(point.weights);
  const bool is_baseline = weights == parse_weights(Point().weights) && wanted.scheme == parse_scheme(Point().kv) &&
                           point.chunk == Point().chunk;
  // The first measurement of the baseline is its own reference: the same pass twice would give the same states.
  const bool makes_references = references.empty() && is_baseline;
  const bool needs_references = references.empty() && !is_baseline;
  Work work(total_cost() * (needs_references ? 2 : 1), watch);
  if (needs_references) make_references(work);

  const Model& model = models.at(weights);
  Session scorer(model, kScorer), reference_scorer(has_bf16_head(weights) ? model : models.bf16_head(), kScorer);
  reset_process_peak();
  Session session(model, wanted);
  record_memory(session, measurement);
  std::vector<std::vector<TokenScore>> scores;
  std::vector<std::vector<float>> made;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string note = fmt::format("text {}/{}", i + 1, texts.size());
    Pass result = pass(session, texts[i], work, note);
    const std::vector<float>& reference = makes_references ? result.hidden : references[i];
    const double before = cost(texts[i]) - scored(texts[i]);
    scores.push_back(compare_hidden(reference_scorer, reference, scorer, result.hidden, texts[i].tokens,
                                    options.prefill,
                                    [&](int64_t done) { work.at(before + static_cast<double>(done), note); }));
    work.finish(cost(texts[i]));
    if (options.prefill > 0) measurement.texts["prefill_ts"].push_back(options.prefill / result.prefill_seconds);
    measurement.texts["decode_ts"].push_back(1 / result.decode_seconds);
    measurement.texts["avg_seconds"].push_back(result.seconds);
    if (makes_references) made.push_back(std::move(result.hidden));
  }
  if (makes_references) references = std::move(made);
  measurement.values["process_peak_bytes"] = exact(static_cast<double>(process_peak_bytes()));
  if (session.cache().has_frozen_scale()) measurement.values["clamped"] = exact(session.cache().clamped());
  for (const auto& [name, values] : measurement.texts) measurement.values[name] = estimate(values);
  DivergenceFigures figures = summarize(scores);
  measurement.values.merge(figures.values);
  measurement.texts.merge(figures.texts);
}

void Evaluator::Parts::run_tasks(Measurement& measurement, const Watcher& watch) const {
  const Point& point = measurement.point;
  const SessionOptions wanted{parse_scheme(point.kv), options.needle_tokens, point.chunk, kScoredRows};
  Session session(models.at(parse_weights(point.weights)), wanted);
  Work work(static_cast<double>(tasks().size()), watch);
  for (size_t i = 0; i < tasks().size(); ++i) {
    const Task& task = tasks()[i];
    TaskScores scores = run_task(task, samples[i], session, tokenizer, options.chat_template,
                                 [&](double part) { work.at(part, task.name); });
    work.finish(1);
    const std::string loss = task.name + "_nll";
    measurement.values[task.name] = estimate(scores.marks);
    measurement.values[loss] = estimate(scores.losses);
    measurement.texts[task.name] = std::move(scores.marks);
    measurement.texts[loss] = std::move(scores.losses);
  }
}

std::string order_of(const Point& point) {
  return parse_scheme(point.kv).attend_first ? "attend-then-pack" : "pack-then-attend";
}

Evaluator::Evaluator(ModelShelf& models, const Tokenizer& tokenizer, std::vector<Text> texts,
                     const EvalOptions& options)
    : parts_(new Parts{models, tokenizer, std::move(texts), options, {}, {}, {}}) {
  parts_->check_texts();
  parts_->describe();
  parts_->make_samples();
}

Evaluator::~Evaluator() = default;

const Regime& Evaluator::regime() const { return parts_->regime; }

Measurement Evaluator::measure(const Point& point, const Watcher& watch) {
  Measurement measurement;
  measurement.point = point;
  measurement.regime = parts_->regime;
  measurement.provenance.program = KVPARETO_VERSION;
  measurement.provenance.device = device_text(parts_->models.backend());
  measurement.provenance.time = utc_text(std::chrono::system_clock::now());
  record_failure(measurement, [&] {
    // Another order is another regime: numbers of the two are never compared.
    measurement.regime.order = order_of(point);
    parts_->run(measurement, watch);
  });
  return measurement;
}

void Evaluator::measure_tasks(Measurement& measurement, const Watcher& watch) {
  if (parts_->samples.empty() || measurement.state == State::kFailed) return;
  record_failure(measurement, [&] { parts_->run_tasks(measurement, watch); });
}

}  // namespace kvpareto
