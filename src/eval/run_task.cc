#include "eval/run_task.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "engine/session.h"

namespace kvpareto {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// -log softmax(logits)[token], sums in double.
double loss_of(std::span<const float> logits, int32_t token) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return std::log(sum) + highest - logits[static_cast<size_t>(token)];
}

// Sum of the losses of `answer` after `last`, the token that the cache does not hold yet.
double sum_of_losses(Session& session, int32_t last, std::span<const int32_t> answer,
                     const std::function<void(double)>& work) {
  std::vector<int32_t> fed = {last};
  fed.insert(fed.end(), answer.begin(), answer.end() - 1);
  const auto at_once = static_cast<size_t>(session.options().chunk);
  double sum = 0;
  for (size_t begin = 0; begin < fed.size(); begin += at_once) {
    stop_if_interrupted();
    const auto step = std::span<const int32_t>(fed).subspan(begin, std::min(at_once, fed.size() - begin));
    session.forward(step, [&](int64_t i, std::span<const float> logits) {
      sum += loss_of(logits, answer[begin + static_cast<size_t>(i)]);
    });
    if (work) work(static_cast<double>(step.size()));
  }
  if (!std::isfinite(sum)) fail("the model's logits are not finite");
  return sum;
}

// A sequence in flight.
struct Lane {
  std::unique_ptr<Session> session;
  size_t question = 0;
  bool answering = false;
  int32_t last = 0;
  std::vector<int32_t> answer;
  double loss = 0;  // mean over the gold answer's tokens
  Clock::time_point start;
};

class Runner {
 public:
  Runner(const Task& task, std::span<const Question> questions, const Model& model, const Tokenizer& tokenizer,
         const SessionOptions& options, const RunProgress& progress)
      : task_(task),
        questions_(questions),
        model_(model),
        tokenizer_(tokenizer),
        options_(options),
        progress_(progress) {}

  void run(int at_once) {
    std::vector<size_t> order(questions_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    // Those that begin alike follow each other.
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return std::ranges::lexicographical_compare(shared(a), shared(b)); });
    lanes_.resize(static_cast<size_t>(std::clamp(at_once, 1, std::min(options_.chunk, options_.context))));
    for (size_t next = 0; next < order.size() || any_answering();) {
      for (Lane& lane : lanes_) {
        while (!lane.answering && next < order.size()) begin(lane, order[next++]);
      }
      answer_a_token();
    }
  }

 private:
  std::span<const int32_t> shared(size_t question) const {
    const Prompt& prompt = questions_[question].prompt;
    return std::span<const int32_t>(prompt.tokens).first(prompt.shared);
  }
  bool any_answering() const {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.answering; });
  }
  void did(double work) const {
    if (progress_.work) progress_.work(work);
  }

  void feed(Session& session, std::span<const int32_t> tokens) const {
    int64_t before = 0;
    session.prefill(tokens, [&](int64_t fed) {
      did(static_cast<double>(fed - before));
      before = fed;
    });
  }

  // The session holds what the prompt shares with others.
  void begin_shared(Session& session, std::span<const int32_t> tokens) {
    session.rewind({0});
    if (tokens.empty()) return;
    if (!trunk_) trunk_.emplace(model_, options_);
    if (!std::ranges::equal(trunk_tokens_, tokens)) {
      trunk_->rewind({0});
      trunk_tokens_.clear();
      feed(*trunk_, tokens);
      trunk_tokens_.assign(tokens.begin(), tokens.end());
    } else {
      did(static_cast<double>(tokens.size()));
    }
    session.copy(*trunk_);
  }

  void begin(Lane& lane, size_t question) {
    const auto& [sample, prompt, fingerprint] = questions_[question];
    if (!lane.session) lane.session = std::make_unique<Session>(model_, options_);
    lane.question = question;
    lane.start = Clock::now();
    Session& session = *lane.session;
    const std::span<const int32_t> tokens(prompt.tokens);
    begin_shared(session, shared(question));
    if (std::holds_alternative<Read>(sample.request)) {
      const auto target = tokens.subspan(1);
      lane.loss = sum_of_losses(session, tokens.front(), target, progress_.work) / static_cast<double>(target.size());
      finish(lane, "");
      return;
    }
    feed(session, tokens.first(tokens.size() - 1).subspan(prompt.shared));
    const KvCache::Mark asked = session.mark();
    lane.last = tokens.back();
    const auto loss_after_prompt = [&](std::span<const int32_t> answer) {
      const double loss = sum_of_losses(session, lane.last, answer, {});
      session.rewind(asked);
      return loss;
    };
    lane.loss = loss_after_prompt(prompt.gold) / static_cast<double>(prompt.gold.size());
    if (const auto* choose = std::get_if<Choose>(&sample.request)) {
      std::vector<double> losses;
      for (const auto& choice : prompt.choices) losses.push_back(loss_after_prompt(choice));
      finish(lane,
             choose->choices[static_cast<size_t>(std::min_element(losses.begin(), losses.end()) - losses.begin())]);
      return;
    }
    lane.answer.clear();
    lane.answering = true;
  }

  // The next token of every answer in flight.
  void answer_a_token() {
    stop_if_interrupted();
    std::vector<Lane*> answering;
    std::vector<Session*> sessions;
    std::vector<int32_t> last;
    for (Lane& lane : lanes_) {
      if (!lane.answering) continue;
      answering.push_back(&lane);
      sessions.push_back(lane.session.get());
      last.push_back(lane.last);
    }
    std::vector<int32_t> next(last.size());
    Session::greedy_next_of_each(sessions, last, next);
    for (size_t i = 0; i < answering.size(); ++i) {
      answering[i]->last = next[i];
      take(*answering[i]);
    }
  }

  void take(Lane& lane) {
    const auto& request = std::get<Generate>(questions_[lane.question].sample.request);
    lane.answer.push_back(lane.last);
    did(kDecodeCost);
    std::string text = tokenizer_.decode(lane.answer);
    size_t end = std::string::npos;
    for (const std::string& stop : request.stop) end = std::min(end, text.find(stop));
    const bool full = static_cast<int>(lane.answer.size()) >= request.max_tokens;
    if (end == std::string::npos && !full && !tokenizer_.is_end(lane.last)) return;
    did(kDecodeCost * static_cast<double>(request.max_tokens - static_cast<int>(lane.answer.size())));
    lane.answering = false;
    finish(lane, text.substr(0, end));
  }

  void finish(const Lane& lane, const std::string& answer) const {
    const Question& question = questions_[lane.question];
    SampleResult result{question.fingerprint, {{task_.name + "_nll", lane.loss}}, answer, seconds_since(lane.start)};
    if (task_.mark != nullptr) {
      const std::vector<double> marks = task_.mark(question.sample, answer);
      const TaskFacts& facts = task_.facts();
      result.scores[task_.name] = marks.front();
      for (size_t i = 0; i < facts.also.size(); ++i) result.scores[task_.name + facts.also[i].ending] = marks[1 + i];
    }
    progress_.done(lane.question, result);
  }

  const Task& task_;
  std::span<const Question> questions_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  SessionOptions options_;
  const RunProgress& progress_;
  std::vector<Lane> lanes_;
  std::optional<Session> trunk_;
  std::vector<int32_t> trunk_tokens_;
};

}  // namespace

double cost_of(const Question& question) {
  const auto* generate = std::get_if<Generate>(&question.sample.request);
  return static_cast<double>(question.prompt.tokens.size()) +
         (generate == nullptr ? 0 : kDecodeCost * generate->max_tokens);
}

void run_task(const Task& task, std::span<const Question> questions, const Model& model, const Tokenizer& tokenizer,
              const SessionOptions& options, int at_once, const RunProgress& progress) {
  Runner(task, questions, model, tokenizer, options, progress).run(at_once);
}

}  // namespace kvpareto
