#pragma once
// Puts the samples of a task to a model through a packed cache.

#include <functional>
#include <string>
#include <vector>

#include "engine/session.h"
#include "eval/task.h"
#include "text/tokenizer.h"

namespace kvpareto {

// What the model is shown: the prompt as the user's turn of a chat, and the beginning of the assistant's answer. An
// empty template shows the prompt alone. Throws Error (kFailure) for a template that this program does not know.
std::vector<int32_t> request_tokens(const Generate& request, const Tokenizer& tokenizer,
                                    const std::string& chat_template);

struct TaskScores {
  std::vector<double> marks;   // 0 to 1, a sample each
  std::vector<double> losses;  // mean negative log-likelihood of the gold answer's tokens, nats; teacher-forced through
                               // the cache after the same prefill as the answer
  std::vector<std::string> answers;
};

// `session` is rewound to where it was before every sample; the cache needs room for the longest one. `progress` gets
// the fraction done.
TaskScores run_task(const Task& task, std::span<const Sample> samples, Session& session, const Tokenizer& tokenizer,
                    const std::string& chat_template, const std::function<void(double)>& progress = {});

}  // namespace kvpareto
