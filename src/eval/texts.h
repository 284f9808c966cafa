#pragma once
// What divergence is measured on: token ids and where they come from.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"

namespace kvpareto {

struct Text {
  std::vector<int32_t> tokens;
  std::string
      origin;  // "self-sampled, seed 1", "wiki.test.raw, seed 1", "ids.json": where all texts of a set come from
};

// How many texts of how many tokens, drawn by which seed.
struct TextSize {
  int texts = 8;
  int tokens = 4609;
  uint64_t seed = 1;
};
// Throws Error (kUsage) for fewer than 1 text or 2 tokens.
void check_size(const TextSize& size);

// Text that the model samples itself, in passages of a few hundred tokens (so that it stays on topic and the passages
// can be sampled side by side): needs no data set, and is what the model finds probable. Passages begin with `openings`
// in turn; with nothing if there are none. `progress` gets the fraction done.
std::vector<Text> sample_texts(const Model& model, const Tokenizer& tokenizer, const TextSize& size,
                               const std::function<void(double)>& progress = {},
                               std::span<const char* const> openings = {});
// Stretches of a text file at seeded, non-overlapping places: one somewhere in each of `texts` equal parts of the file.
// Throws Error if it is too short, telling how long it must be.
std::vector<Text> texts_of_file(const std::string& path, const Tokenizer& tokenizer, const TextSize& size);
// JSON: an array of arrays of token ids, used exactly as they are. Throws Error: not that, ids outside the vocabulary.
std::vector<Text> texts_of_token_file(const std::string& path, int vocabulary);

// What a user who names no text gets: `file` if it is not empty, else wikitext2_raw/wiki.test.raw of `data_folder` (the
// value of KVPARETO_DATA, which may be empty) if it is there, else text that the model samples.
std::vector<Text> default_texts(const Model& model, const Tokenizer& tokenizer, const std::string& file,
                                const std::string& data_folder, const TextSize& size,
                                const std::function<void(double)>& progress = {});

}  // namespace kvpareto
