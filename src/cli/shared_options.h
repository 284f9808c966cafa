#pragma once
// Options that several subcommands have, and what follows from them: the model, its KV schemes, the texts.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "cli/options.h"
#include "eval/texts.h"
#include "kv/scheme.h"
#include "model/shelf.h"
#include "study/study.h"

namespace kvpareto {

inline constexpr int kMostContext = 1 << 24;  // tokens; no model comes near, and sizes stay far from overflow
inline constexpr int kDefaultContext = 4096;
inline constexpr Range kContexts = {1, kMostContext};
inline constexpr Range kChunks = {1, 65536};

inline const std::string kDefaultStudy = "kvpareto-study.db";

// -m, -t, --backend.
struct ModelOptions {
  std::string path;
  int threads = 0;  // 0: all
  std::string backend = "auto";
  std::string calibration;  // of .awq weights, as CalibrationTexts takes it

  void declare(Options& options);
  void declare_machine(Options& options);  // -t and --backend alone
  void declare_calibration(Options& options);
  // The model's file, with a hint at the demo model if none was given.
  std::unique_ptr<Checkpoint> open() const;
  std::unique_ptr<Backend> make() const;
};

// A model file with all that using it needs; weights are loaded when the shelf is asked for them, with progress shown.
// Members in the order in which they depend on each other.
struct LoadedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Backend> backend;
  Tokenizer tokenizer;
  std::unique_ptr<ModelShelf> models;

  const Model& bf16() const { return models->at({}); }
};
LoadedModel load(const ModelOptions& options);
// The same on a backend that is there already.
LoadedModel load(const ModelOptions& options, std::unique_ptr<Backend> backend);

// -w.
struct WeightOptions {
  std::vector<std::string> weights;

  void declare(Options& options);
  // Each once, all of them possible for the model; "w16" if nothing was given. Says in a note where a scheme could not
  // be had to the letter. Throws Error (kUsage).
  std::vector<WeightScheme> schemes(const Checkpoint& checkpoint, const ModelShape& shape) const;
};

// -ctk, -ctv, --kv.
struct KvOptions {
  std::vector<std::string> type_k, type_v, kv;

  void declare(Options& options);
  // Every combination of the types of K and V, or the schemes of --kv; `fallback` if nothing was given. Each once, all
  // of them valid for the model. Throws Error (kUsage).
  std::vector<KvScheme> schemes(const ModelShape& shape, const std::string& fallback = "k16v16") const;
};

// --text, --tokens, --texts, --seed: what divergence is measured on.
struct TextOptions {
  std::string file, token_file;
  int texts = 2, fewest = 1;
  uint64_t seed = 1;

  void declare(Options& options);
  // `tokens` ids for each text; texts that the model samples itself are kept in the study if there is one, so that they
  // are sampled once.
  std::vector<Text> obtain(const LoadedModel& loaded, int tokens, Study* study) const;
};

// Throws Error (kUsage) naming both if the model was not made for so many tokens.
void check_context(int64_t context, const ModelShape& shape, const std::string& path);

// "int4" as users of llama.cpp write the sides of a scheme.
std::string key_type(const KvScheme& scheme);
std::string value_type(const KvScheme& scheme);

}  // namespace kvpareto
