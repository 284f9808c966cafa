#pragma once
// One growing sequence on a model: prefill in chunks, decode, rewind. What it costs in bytes is known before it exists.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kv/cache.h"
#include "model/model.h"

namespace kvpareto {

struct SessionOptions {
  KvScheme scheme = {};
  int context = 4096;   // tokens the cache is allocated for
  int chunk = 256;      // tokens of one prefill step
  int logits_rows = 1;  // positions whose logits can be had at once
};

struct MemoryParts {
  size_t weights = 0, kv = 0, scratch = 0, logits = 0;
  size_t total() const { return weights + kv + scratch + logits; }
  bool operator==(const MemoryParts&) const = default;
};

// The memory of a session and its model from metadata alone; a test demands that it equals what the backend then holds.
MemoryParts session_bytes(const ModelShape& shape, const WeightPlan& weights, const Backend& backend,
                          const SessionOptions& options);

class Session {
 public:
  // Called with the index of a row and its logits [vocabulary].
  using RowVisitor = std::function<void(int64_t, std::span<const float>)>;

  // Allocates everything. Throws Error (kUsage): context beyond the model's, a scheme that does not fit the head size,
  // chunk or rows below 1; (kNoMemory) if there is none.
  Session(const Model& model, const SessionOptions& options);

  // Appends tokens chunk by chunk. `progress` is called after each chunk with the tokens done in this call.
  void prefill(std::span<const int32_t> tokens, const std::function<void(int64_t)>& progress = {});

  // Appends tokens (at most the chunk) and calls `row(i, logits)` for the logits [vocabulary] that follow each of them.
  // The logits live until the next call.
  void forward(std::span<const int32_t> tokens, const RowVisitor& row);
  // The same for the last token only: what comes next. The result lives until the next call.
  std::span<const float> next(std::span<const int32_t> tokens);

  // Appends tokens (at most the chunk) and gives the token with the largest logit, of equal ones the smallest: a greedy
  // choice, which with a head in int8 reads half of it (best_row() of backend/backend.h).
  int32_t greedy_next(std::span<const int32_t> tokens);

  // Appends tokens (at most the chunk) and gives their hidden states after the final norm, f32 [tokens, hidden]. The
  // head applied to them gives the logits: a reference distribution in hidden * 4 bytes instead of vocabulary * 4.
  std::vector<float> hidden(std::span<const int32_t> tokens);
  // Calls `row(i, logits)` with the logits of hidden states f32 [n, hidden] as hidden() gave them.
  void logits_of(std::span<const float> hidden, const RowVisitor& row);

  KvCache::Mark mark() const { return cache_.mark(); }
  void rewind(const KvCache::Mark& mark) { cache_.rewind(mark); }
  // Goes on from where another session of the same options is: a prefix that several sequences share is fed once.
  void copy(const Session& other) { cache_.copy(other.cache_); }
  int64_t tokens() const { return cache_.tokens(); }
  // One token for each of several sessions of one model, in step, so that the weights are read once for all. Calls
  // `row(i, logits)` for the logits that follow the token of session i; they live until the next call. As many sessions
  // as the first one's chunk at most; its memory is used. What a session gets does not depend on the others, bit for
  // bit, while there are fewer than 16: then all products take the kernels of single rows.
  static void next_of_each(std::span<Session* const> sessions, std::span<const int32_t> tokens, const RowVisitor& row);
  // The same with greedy choices, one a session.
  static void greedy_next_of_each(std::span<Session* const> sessions, std::span<const int32_t> tokens,
                                  std::span<int32_t> chosen);

  MemoryParts bytes() const;  // as allocated
  const KvCache& cache() const { return cache_; }
  const Model& model() const { return model_; }
  const SessionOptions& options() const { return options_; }

 private:
  void check(std::span<const int32_t> tokens) const;
  void step(std::span<const int32_t> tokens);
  static void step_each(std::span<Session* const> sessions, std::span<const int32_t> tokens);
  void each_row(int64_t begin, int64_t end, const RowVisitor& row);
  int32_t best_of_row(int64_t row);

  const Model& model_;
  SessionOptions options_;
  KvCache cache_;
  Buffer scratch_, logits_;
  Workspace workspace_;
};

// Peak resident bytes of this process (VmHWM), and a restart of its counting; 0 where the system does not tell.
size_t process_peak_bytes();
void reset_process_peak();

}  // namespace kvpareto
