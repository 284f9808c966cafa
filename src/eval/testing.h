#pragma once
// A tiny model loaded whole, for the tests of this folder. Included by *_test.cc alone.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing.h"
#include "checkpoint/checkpoint.h"
#include "eval/task.h"
#include "eval/texts.h"
#include "model/shelf.h"

namespace kvpareto {

struct TinyModel {
  explicit TinyModel(const std::string& name)
      : checkpoint(open_checkpoint(std::string(KVPARETO_TESTDATA "/tiny/") + name)),
        backend(make_backend("auto")),
        model(load_model(*checkpoint, *backend)),
        models(*checkpoint, *backend),
        tokenizer(load_tokenizer(*checkpoint)) {}

  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Backend> backend;
  Model model;
  mutable ModelShelf models;
  Tokenizer tokenizer;
};

// Words stand in for tokens.
inline int64_t count_words(const Sample& sample) {
  const std::string text = sample.prompt + sample.answer_prefix;
  return std::count_if(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n'; }) + 1;
}

inline TaskSetting word_setting(int samples, int tokens, uint64_t seed) {
  const auto tokenize = [](std::string_view text) { return std::vector<int32_t>(text.begin(), text.end()); };
  return {.samples = samples,
          .seed = seed,
          .lengths = {tokens},
          .data = KVPARETO_TESTDATA "/tasks",
          .tokenize = tokenize,
          .count_tokens = count_words};
}

// Tasks that make samples of any length without data.
inline std::vector<std::string> synthetic_task_names() {
  std::vector<std::string> names;
  for (const Task& task : tasks()) {
    TaskSetting setting = word_setting(1, 1000, 1);
    setting.data.clear();
    if (!error_of([&] { task.make(setting); })) names.push_back(task.name);
  }
  return names;
}

inline std::vector<Text> random_texts(int texts, int tokens, int vocabulary, uint64_t seed) {
  Random random(seed);
  std::vector<Text> made(static_cast<size_t>(texts));
  for (Text& text : made) {
    text.origin = "random";
    for (int i = 0; i < tokens; ++i) {
      text.tokens.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
    }
  }
  return made;
}

}  // namespace kvpareto
