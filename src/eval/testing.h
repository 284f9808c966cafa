#pragma once
// A tiny model loaded whole, for the tests of this folder. Included by *_test.cc alone.

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "checkpoint/checkpoint.h"
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
