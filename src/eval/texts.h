#pragma once
// What divergence is measured on: token ids and where they come from.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/model.h"

namespace kvpareto {

struct Text {
  std::vector<int32_t> tokens;
  std::string origin;  // "self-sampled, seed 1", "wiki.test.raw at byte 120034"
};

// Text that the model samples itself, in passages of a few hundred tokens (so that it stays on topic and the passages can be
// sampled side by side): needs no data set, and is what the model finds probable.
std::vector<Text> sample_texts(const Model& model, const Tokenizer& tokenizer, int texts, int tokens, uint64_t seed,
                               const std::function<void(double)>& progress = {});
// Stretches of a text file at seeded, non-overlapping places. Throws Error if it is too short, telling how long it must be.
std::vector<Text> texts_of_file(const std::string& path, const Tokenizer& tokenizer, int texts, int tokens, uint64_t seed);
// JSON: an array of arrays of token ids, used exactly as they are. Throws Error: not that, ids outside the vocabulary.
std::vector<Text> texts_of_token_file(const std::string& path, int vocabulary);

}  // namespace kvpareto
