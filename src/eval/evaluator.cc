#include "eval/evaluator.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "eval/divergence.h"
#include "eval/reference_store.h"
#include "kv/scheme.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

using Clock = std::chrono::steady_clock;

// Positions whose logits are made at once: one would read the whole head for every position. They belong to the
// instrument, not to the configuration: a session of their own holds them, and peak_bytes is what `run` would take.
constexpr int kScoredRows = 16;
// What one scored token costs, in prefill tokens; for the progress bar alone.
constexpr double kScoreCost = 2;

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

// Hidden states of a text's scored positions f32 [scored, hidden] after the final norm, and the times; no scores yet.
struct Pass {
  std::vector<float> hidden;
  TextResult result;
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

TaskOptions tasks_of(const EvalOptions& options) {
  TaskOptions tasks = options.tasks;
  tasks.seed = options.seed;
  return tasks;
}

Estimate exact(double value) { return {value, 0, 1}; }

}  // namespace

struct Evaluator::Parts {
  Parts(ModelShelf& shelf, const Tokenizer& tokenizer, std::vector<Text> given, const EvalOptions& wanted)
      : models(shelf), texts(std::move(given)), options(wanted), tasks(shelf.shape(), tokenizer, tasks_of(wanted)) {
    check_texts();
    describe();
  }

  ModelShelf& models;
  std::vector<Text> texts;
  EvalOptions options;
  Regime regime;
  TaskSet tasks;
  std::vector<std::vector<float>> references;  // hidden states of the 16-bit baseline, a text each; empty until made
  std::vector<uint64_t> names;                 // of the texts among the shared results
  ReferenceStore store{options.reference_folder};

  // Whose 16-bit states are the reference.
  ModelShelf& judge() const { return options.reference == nullptr ? models : *options.reference; }

  int scored(const Text& text) const {
    return options.scored > 0 ? options.scored : static_cast<int>(text.tokens.size()) - options.prefill;
  }
  double cost(const Text& text) const {
    return options.prefill + kDecodeCost * std::min(options.decoded, scored(text)) + kScoreCost * scored(text);
  }
  ReferenceKey key_of(const Text& text) const {
    const size_t fed = static_cast<size_t>(options.prefill) + static_cast<size_t>(scored(text));
    return {judge().fingerprint(), std::span(text.tokens).first(fed), options.prefill, scored(text), options.step,
            Point().chunk,         judge().backend().name()};
  }
  double total_cost() const {
    double sum = 0;
    for (const Text& text : texts) sum += cost(text);
    return sum;
  }

  void check_texts() const;
  void describe();
  Pass pass(Session& session, const Text& text, const Work& work, const std::string& note) const;
  void make_references(Work& work);
  void record_memory(const Session& session, Measurement& measurement) const;
  void run(Measurement& measurement, const Watcher& watch);
};

void Evaluator::Parts::check_texts() const {
  if (options.prefill < 0 || options.scored < 0 || options.decoded < 0 || options.step < 1) {
    fail_usage(
        "wanted prefill, scored and decoded tokens of at least 0 and steps of at least 1, found {}, {}, {} and {}",
        options.prefill, options.scored, options.decoded, options.step);
  }
  if (texts.empty() && options.context == 0) fail_usage("wanted a text to measure on or a context, found neither");
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
    const int how[] = {options.prefill, scored(text), options.step, options.decoded};
    names.push_back(
        hash_bytes(how, sizeof how, hash_bytes(text.tokens.data(), text.tokens.size() * sizeof(int32_t), 0)));
  }
  const int needed = texts.empty() ? 0 : options.prefill + scored_most;
  regime.model = models.file();
  regime.model_hash = fingerprint(models.fingerprint());
  regime.context = options.context == 0 ? needed : options.context;
  if (!texts.empty()) {
    regime.prefill = options.prefill;
    regime.scored = scored_most;
    regime.step = options.step;
    regime.text_origin = texts.front().origin;
  }
  regime.texts = static_cast<int>(texts.size());
  regime.text_hash = fingerprint(hash);
  regime.seed = options.seed;
  regime.calibration = models.calibration();
  if (options.reference != nullptr) {
    regime.reference = fingerprint(judge().fingerprint());
    if (judge().shape().vocabulary != models.shape().vocabulary) {
      fail_usage("{}: wanted a reference with a vocabulary of {} tokens as {} has it, found {}", judge().file(),
                 models.shape().vocabulary, models.file(), judge().shape().vocabulary);
    }
  }
  if (regime.context < needed) {
    fail_usage("wanted a context of at least {} tokens (prefill {} + scored {}), found {}", needed, options.prefill,
               scored_most, regime.context);
  }
  if (regime.context > models.shape().context) {
    fail_usage("{}: wanted a context of at most {} tokens, found {}; prefill and score fewer", models.file(),
               models.shape().context, regime.context);
  }
}

Pass Evaluator::Parts::pass(Session& session, const Text& text, const Work& work, const std::string& note) const {
  const std::span<const int32_t> tokens(text.tokens);
  const auto prefill = static_cast<size_t>(options.prefill), count = static_cast<size_t>(scored(text));
  Pass made;
  TextResult& result = made.result;
  session.rewind({0});
  const auto start = Clock::now();
  if (prefill > 0) {
    session.prefill(tokens.first(prefill), [&](int64_t fed) { work.at(static_cast<double>(fed), note); });
  }
  result.prefill_seconds = seconds_since(start);

  const KvCache::Mark filled = session.mark();
  const auto decode_start = Clock::now();
  const size_t decoded = std::min(static_cast<size_t>(options.decoded), count);
  for (size_t i = 0; i < decoded; ++i) session.next(tokens.subspan(prefill + i, 1));
  result.decode_seconds = seconds_since(decode_start) / static_cast<double>(std::max<size_t>(1, decoded));
  session.rewind(filled);

  const auto score_start = Clock::now();
  const auto step = static_cast<size_t>(std::min(options.step, session.options().chunk));
  const double before = options.prefill + kDecodeCost * static_cast<double>(decoded);
  for (size_t done = 0; done < count; done += step) {
    work.at(before + static_cast<double>(done), note);
    const std::vector<float> states = session.hidden(tokens.subspan(prefill + done, std::min(step, count - done)));
    made.hidden.insert(made.hidden.end(), states.begin(), states.end());
  }
  result.seconds = result.prefill_seconds + seconds_since(score_start);
  return made;
}

void Evaluator::Parts::make_references(Work& work) {
  const Point baseline;
  const SessionOptions wanted{parse_scheme(baseline.kv), regime.context, baseline.chunk};
  std::optional<Session> session;
  std::vector<std::vector<float>> made;
  for (size_t i = 0; i < texts.size(); ++i) {
    const size_t values = static_cast<size_t>(scored(texts[i])) * static_cast<size_t>(judge().shape().hidden);
    const std::vector<float>* shared = options.shared ? options.shared->find_reference(names[i]) : nullptr;
    if (shared != nullptr) {
      made.push_back(*shared);
    } else if (auto kept = store.find(key_of(texts[i]), values)) {
      made.push_back(std::move(*kept));
    } else {
      if (!session) session.emplace(judge().at(parse_weights(baseline.weights)), wanted);
      const std::string note = fmt::format("baseline, text {}/{}", i + 1, texts.size());
      made.push_back(pass(*session, texts[i], work, note).hidden);
      store.keep(key_of(texts[i]), made.back());
    }
    if (options.shared) options.shared->keep_reference(names[i], made.back());
    work.finish(cost(texts[i]));
  }
  references = std::move(made);
  session.reset();
  if (options.reference != nullptr) judge().give_up();
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
  const bool is_baseline = options.reference == nullptr && weights == parse_weights(Point().weights) &&
                           wanted.scheme == parse_scheme(Point().kv) && point.chunk == Point().chunk;
  // The first measurement of the baseline is its own reference: the same pass twice would give the same states.
  const bool makes_references = references.empty() && is_baseline;
  const bool needs_references = references.empty() && !texts.empty() && !is_baseline;
  Work work(total_cost() * (needs_references ? 2 : 1), watch);
  if (needs_references) make_references(work);

  const Model& model = models.at(weights);
  const bool shares_head = options.reference == nullptr && has_bf16_head(weights);
  Session scorer(model, kScorer), reference_scorer(shares_head ? model : judge().bf16_head(), kScorer);
  reset_process_peak();
  Session session(model, wanted);
  record_memory(session, measurement);
  std::vector<TextResult> results;
  std::vector<std::vector<float>> made;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string note = fmt::format("text {}/{}", i + 1, texts.size());
    const TextResult* kept = options.shared ? options.shared->find(point, names[i]) : nullptr;
    if (kept != nullptr && !makes_references) {
      results.push_back(*kept);
      work.finish(cost(texts[i]));
      continue;
    }
    Pass passed = pass(session, texts[i], work, note);
    const std::vector<float>& reference = makes_references ? passed.hidden : references[i];
    const double before = cost(texts[i]) - scored(texts[i]);
    passed.result.scores =
        compare_hidden(reference_scorer, reference, scorer, passed.hidden, texts[i].tokens, options.prefill,
                       [&](int64_t done) { work.at(before + static_cast<double>(done), note); });
    work.finish(cost(texts[i]));
    if (options.shared) options.shared->keep(point, names[i], passed.result);
    results.push_back(std::move(passed.result));
    if (!makes_references) continue;
    store.keep(key_of(texts[i]), passed.hidden);
    if (options.shared) options.shared->keep_reference(names[i], passed.hidden);
    made.push_back(std::move(passed.hidden));
  }
  if (makes_references) references = std::move(made);
  measurement.values["process_peak_bytes"] = exact(static_cast<double>(process_peak_bytes()));
  if (session.cache().has_frozen_scale()) measurement.values["clamped"] = exact(session.cache().clamped());
  if (texts.empty()) return;
  std::vector<std::vector<TokenScore>> scores;
  for (TextResult& result : results) {
    if (options.prefill > 0) measurement.texts["prefill_ts"].push_back(options.prefill / result.prefill_seconds);
    if (options.decoded > 0) measurement.texts["decode_ts"].push_back(1 / result.decode_seconds);
    measurement.texts["avg_seconds"].push_back(result.seconds);
    scores.push_back(std::move(result.scores));
  }
  for (const auto& [name, values] : measurement.texts) measurement.values[name] = estimate(values);
  DivergenceFigures figures = summarize(scores);
  measurement.values.merge(figures.values);
  measurement.texts.merge(figures.texts);
}

std::string order_of(const Point& point) {
  return parse_scheme(point.kv).attend_first ? "attend-then-pack" : "pack-then-attend";
}

Evaluator::Evaluator(ModelShelf& models, const Tokenizer& tokenizer, std::vector<Text> texts,
                     const EvalOptions& options)
    : parts_(std::make_unique<Parts>(models, tokenizer, std::move(texts), options)) {}

Evaluator::~Evaluator() = default;

const Regime& Evaluator::regime() const { return parts_->regime; }

Measurement Evaluator::measure(const Point& point, const Watcher& watch) {
  Measurement measurement;
  measurement.point = point;
  measurement.regime = regime_of(parts_->regime, point);
  measurement.provenance.program = KVPARETO_VERSION;
  measurement.provenance.device = device_text(parts_->models.backend());
  measurement.provenance.time = utc_text(std::chrono::system_clock::now());
  if (is_fitted(point)) measurement.provenance.calibration_file = parts_->models.calibration_file();
  record_failure(measurement, [&] {
    // Another order is another regime: numbers of the two are never compared.
    measurement.regime.order = order_of(point);
    parts_->run(measurement, watch);
  });
  return measurement;
}

const TaskSet& Evaluator::tasks() const { return parts_->tasks; }

TaskResults Evaluator::measure_tasks(Measurement& measurement, Study* study, const Watcher& watch) {
  TaskResults results;
  if (parts_->tasks.empty() || measurement.state == State::kFailed) return results;
  record_failure(measurement, [&] {
    const Point& point = measurement.point;
    const Model& model = parts_->models.at(parse_weights(point.weights));
    results = parts_->tasks.measure(model, {parse_scheme(point.kv), 0, point.chunk}, measurement, study, watch);
  });
  return results;
}

}  // namespace kvpareto
