#include "eval/run_task.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "engine/generate.h"

namespace kvpareto {
namespace {

// -log softmax(logits)[token], sums in double.
double loss_of(std::span<const float> logits, int32_t token) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return std::log(sum) + highest - logits[static_cast<size_t>(token)];
}

// Mean loss of `answer` after `last`, the token that the cache does not hold yet.
double answer_loss(Session& session, int32_t last, std::span<const int32_t> answer) {
  std::vector<int32_t> fed = {last};
  fed.insert(fed.end(), answer.begin(), answer.end() - 1);
  const auto at_once = static_cast<size_t>(session.options().chunk);
  double sum = 0;
  for (size_t begin = 0; begin < fed.size(); begin += at_once) {
    const auto step = std::span<const int32_t>(fed).subspan(begin, std::min(at_once, fed.size() - begin));
    session.forward(step, [&](int64_t i, std::span<const float> logits) {
      sum += loss_of(logits, answer[begin + static_cast<size_t>(i)]);
    });
  }
  return sum / static_cast<double>(answer.size());
}

}  // namespace

std::vector<int32_t> request_tokens(const Generate& request, const Tokenizer& tokenizer,
                                    const std::string& chat_template) {
  const Message message{"user", request.prompt};
  // A template writes the beginning token itself if the model wants one.
  return tokenizer.encode(render_chat(chat_template, {&message, 1}) + request.answer_prefix, true,
                          chat_template.empty());
}

TaskScores run_task(const Task& task, std::span<const Sample> samples, Session& session, const Tokenizer& tokenizer,
                    const std::string& chat_template, const std::function<void(double)>& progress) {
  TaskScores scores;
  const KvCache::Mark start = session.mark();
  Random unused(0);  // greedy
  for (const Sample& sample : samples) {
    const std::vector<int32_t> tokens = request_tokens(sample.request, tokenizer, chat_template);
    const std::vector<int32_t> gold = tokenizer.encode(sample.gold, false, false);
    if (tokens.empty() || gold.empty()) fail("the tokenizer makes no token of a {} sample", task.name);
    const auto done = static_cast<double>(scores.marks.size());
    session.prefill(std::span(tokens).first(tokens.size() - 1), [&](int64_t fed) {
      stop_if_interrupted();
      const double part = static_cast<double>(fed) / static_cast<double>(tokens.size());
      if (progress) progress((done + part) / static_cast<double>(samples.size()));
    });
    const KvCache::Mark asked = session.mark();
    scores.losses.push_back(answer_loss(session, tokens.back(), gold));
    if (!std::isfinite(scores.losses.back())) fail("the model's logits are not finite in a {} sample", task.name);
    session.rewind(asked);
    const std::vector<int32_t> answer =
        generate(session, {&tokens.back(), 1}, sample.request.max_tokens, {}, unused, [&](int32_t token) {
          stop_if_interrupted();
          return !tokenizer.is_end(token);
        });
    scores.answers.push_back(tokenizer.decode(answer));
    scores.marks.push_back(task.mark(sample, scores.answers.back()));
    session.rewind(start);
  }
  return scores;
}

}  // namespace kvpareto
