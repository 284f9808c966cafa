#include "eval/task_set.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

constexpr int kUsualLength = 2048;
constexpr int kScoredRows = 16;  // logits made at once; more read the head no less often
// Sequences in flight together take no more than this, whatever was asked for, but one always runs.
constexpr size_t kMostBytes = size_t{2} << 30;

int sequences_at_once(const Model& model, const SessionOptions& options, int wanted) {
  const MemoryParts parts = session_bytes(model.shape, model.weights, *model.backend, options);
  const size_t fitting = kMostBytes / (parts.total() - parts.weights);
  return static_cast<int>(std::clamp<size_t>(fitting, 1, static_cast<size_t>(wanted)));
}

}  // namespace

TaskSet::TaskSet(const ModelShape& shape, const Tokenizer& tokenizer, const TaskOptions& options)
    : tokenizer_(tokenizer), options_(options) {
  const int longest = options.longest == 0 ? shape.context : std::min(options.longest, shape.context);
  if (options.tasks.empty()) return;
  for (const int length : options.lengths) {
    if (length <= longest) continue;
    fail_usage("wanted samples of at most {} tokens, found {}", longest, length);
  }
  TaskSetting setting{
      .samples = options.limit,
      .seed = options.seed,
      .split = options.split,
      .lengths = options.lengths.empty() ? std::vector{std::min(kUsualLength, longest)} : options.lengths,
      .data = options.data,
      .haystack = options.haystack,
      .tokenize = [&](std::string_view text) { return tokenizer.encode(text, false, false); },
      .count_tokens =
          [&](const Sample& sample) {
            return static_cast<int64_t>(shown_tokens(sample, tokenizer, options.chat_template).size());
          }};
  for (const std::string& name : options.tasks) {
    const Task& task = find_task(name);
    Set set{&task, {}, 0};
    std::set<std::string> seen;
    for (Sample& sample : task.make(setting)) {
      stop_if_interrupted();
      Question question{std::move(sample), {}, {}};
      question.prompt = make_prompt(question.sample, tokenizer, options.chat_template, longest);
      question.fingerprint = sample_fingerprint(question.sample, question.prompt);
      // A set that holds a question twice asks it once.
      if (!seen.insert(question.fingerprint).second) continue;
      const int tokens = static_cast<int>(question.prompt.tokens.size()) + question.prompt.most_answer;
      set.context = std::max(set.context, tokens);
      set.questions.push_back(std::move(question));
    }
    if (set.questions.empty()) fail("{}: there is no sample of this split", name);
    sets_.push_back(std::move(set));
  }
}

TaskResults TaskSet::measure(const Model& model, const SessionOptions& wanted, Measurement& measurement, Study* study,
                             const Watcher& watch) const {
  double total = 0, done = 0;
  const std::string whose = model_key(measurement.regime, measurement.point);
  std::vector<std::map<std::string, SampleResult>> known(sets_.size());
  for (size_t i = 0; i < sets_.size(); ++i) {
    if (study != nullptr) known[i] = study->samples(whose, measurement.point, sets_[i].task->name);
    for (const Question& question : sets_[i].questions) {
      if (!known[i].contains(question.fingerprint)) total += cost_of(question);
    }
  }
  TaskResults all;
  for (size_t i = 0; i < sets_.size(); ++i) {
    const auto& [task, questions, context] = sets_[i];
    std::vector<Question> missing;
    for (const Question& question : questions) {
      if (!known[i].contains(question.fingerprint)) missing.push_back(question);
    }
    size_t finished = questions.size() - missing.size();
    if (!missing.empty()) {
      SessionOptions options = wanted;
      options.context = context;
      options.logits_rows = kScoredRows;
      RunProgress progress;
      progress.work = [&](double work) {
        done += work;
        if (watch) watch(std::min(1.0, done / total), fmt::format("{} {}/{}", task->name, finished, questions.size()));
      };
      progress.done = [&](size_t, const SampleResult& result) {
        if (study != nullptr) study->record(whose, measurement.point, task->name, result);
        known[i][result.sample] = result;
        ++finished;
      };
      const int at_once = sequences_at_once(model, options, options_.at_once);
      run_task(*task, missing, model, tokenizer_, options, at_once, progress);
    }
    std::vector<SampleResult>& results = all.emplace_back();
    for (const Question& question : questions) results.push_back(known[i].at(question.fingerprint));
    add_scores(measurement, *task, results);
  }
  return all;
}

TaskSet::Amount TaskSet::missing(const std::string& model, const Point& point, const Study* study) const {
  Amount amount;
  for (const Set& set : sets_) {
    std::map<std::string, SampleResult> known;
    if (study != nullptr) known = study->samples(model, point, set.task->name);
    for (const Question& question : set.questions) {
      if (known.contains(question.fingerprint)) continue;
      ++amount.questions;
      amount.prompt_tokens += static_cast<int64_t>(question.prompt.tokens.size());
      const auto* generate = std::get_if<Generate>(&question.sample.request);
      if (generate != nullptr) amount.answer_tokens += generate->max_tokens;
    }
  }
  return amount;
}

double TaskSet::seconds(const Model& model, const Amount& amount, int chunk) const {
  constexpr int kPrompt = 128, kAnswer = 4;
  const SessionOptions options{KvScheme(), std::min(kPrompt + kAnswer, model.shape.context), chunk};
  const int in_step = std::clamp(std::min(options_.at_once, chunk), 1, 4);  // more in step gain little
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> pointers;
  for (int i = 0; i < in_step; ++i) {
    sessions.push_back(std::make_unique<Session>(model, options));
    pointers.push_back(sessions.back().get());
  }
  const std::vector<int32_t> tokens(static_cast<size_t>(kPrompt), 1);
  const auto timed = [](const auto& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto prompt = std::span(tokens).first(static_cast<size_t>(options.context - kAnswer));
  sessions.front()->prefill(prompt);  // the first run brings weights into memory
  sessions.front()->rewind({0});
  const double reading = timed([&] { sessions.front()->prefill(prompt); }) / static_cast<double>(prompt.size());
  const double writing = timed([&] {
    for (int i = 0; i < kAnswer; ++i) {
      const auto last = std::span(tokens).first(pointers.size());
      Session::next_of_each(pointers, last, [](int64_t, std::span<const float>) {});
    }
  });
  return reading * static_cast<double>(amount.prompt_tokens) +
         writing / (kAnswer * in_step) * static_cast<double>(amount.answer_tokens);
}

void add_scores(Measurement& measurement, const Task& task, const std::vector<SampleResult>& results) {
  std::map<std::string, std::vector<double>> values;
  std::vector<std::string> names;
  for (const SampleResult& result : results) {
    names.push_back(result.sample);
    for (const auto& [figure, value] : result.scores) values[figure].push_back(value);
  }
  for (auto& [figure, list] : values) {
    measurement.values[figure] = estimate(list);
    measurement.texts[figure] = std::move(list);
  }
  if (task.facts().kind == ScoreKind::kPerplexity) {
    // exp of a mean, its error by the delta method.
    const Estimate nll = measurement.values.at(task.name + "_nll");
    const double perplexity = std::exp(nll.value);
    measurement.values[task.name] = {perplexity, perplexity * nll.standard_error, nll.samples};
  }
  measurement.samples[task.name] = std::move(names);
}

}  // namespace kvpareto
