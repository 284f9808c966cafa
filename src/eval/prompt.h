#pragma once
// A sample as token ids: what the model is shown, and the right answer that its likelihood is measured of.

#include <cstdint>
#include <string>
#include <vector>

#include "eval/task.h"
#include "text/tokenizer.h"

namespace kvpareto {

struct Prompt {
  std::vector<int32_t> tokens;  // never empty
  size_t shared = 0;            // so many of them are read once for all samples that begin with the same
  std::vector<int32_t> gold;    // empty for what is read
  std::vector<std::vector<int32_t>> choices;
  int most_answer = 0;     // tokens that an answer may add to the prompt
  bool shortened = false;  // it lost its middle
};

// `longest`: tokens of prompt and answer together; a sample that may lose its middle is cut to that (the first and the
// last half of the tokens that fit stay, as in LongBench). Throws Error: (kUsage) too long; (kFailure) a chat template
// that this program does not know, or a text that the tokenizer makes no token of.
Prompt make_prompt(const Sample& sample, const Tokenizer& tokenizer, const std::string& chat_template, int longest);

// The tokens shown alone, uncut: for sizing samples.
std::vector<int32_t> shown_tokens(const Sample& sample, const Tokenizer& tokenizer, const std::string& chat_template);

// Equal where the model is asked the same and the same counts as right: prompt, gold answer, choices and limits.
std::string sample_fingerprint(const Sample& sample, const Prompt& prompt);

}  // namespace kvpareto
