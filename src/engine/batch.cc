#include "engine/batch.h"

#include <limits>
#include <memory>

#include "base/interrupt.h"
#include "base/parallel.h"

namespace kvpareto {

std::vector<std::vector<int32_t>> sample_batch(const Model& model, const std::vector<std::vector<int32_t>>& prompts,
                                               int length, const Sampling& sampling, uint64_t seed,
                                               const std::vector<int32_t>& banned,
                                               const std::function<void(int)>& progress) {
  Backend& backend = *model.backend;
  const auto batch = static_cast<int>(prompts.size());
  const int64_t vocabulary = model.shape.vocabulary;
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<Stretch> stretches;
  std::vector<Random> randoms;
  for (int i = 0; i < batch; ++i) {
    caches.push_back(std::make_unique<KvCache>(backend, KvScheme(), model.shape.cache_shape(length)));
    stretches.push_back({caches.back().get(), 1});
    randoms.emplace_back(seed + static_cast<uint64_t>(i));
  }
  const Buffer scratch =
      backend.allocate(workspace_bytes(model.shape, model.weights, backend, batch, length), Purpose::kScratch);
  const Buffer logits = backend.allocate(static_cast<size_t>(batch * vocabulary) * sizeof(float), Purpose::kLogits);
  const Workspace work = plan_workspace(model, batch, length, scratch.data());

  std::vector<std::vector<int32_t>> sequences = prompts;
  std::vector<std::vector<int32_t>> orders(prompts.size());
  std::vector<int32_t> step(prompts.size());
  for (int position = 1; position < length; ++position) {
    stop_if_interrupted();
    for (size_t i = 0; i < step.size(); ++i) step[i] = sequences[i][static_cast<size_t>(position) - 1];
    decode_step(model, step, stretches, work);
    compute_logits(model, final_hidden(model, work, 0, batch), work, tensor(logits.as<float>(), batch, vocabulary));
    parallel_for(batch, [&](int64_t i) {
      if (static_cast<int>(sequences[static_cast<size_t>(i)].size()) > position) return;  // still in its prompt
      const std::span<float> row(logits.as<float>() + i * vocabulary, static_cast<size_t>(vocabulary));
      for (const int32_t token : banned) row[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
      sequences[static_cast<size_t>(i)].push_back(
          choose(row, sampling, randoms[static_cast<size_t>(i)], orders[static_cast<size_t>(i)]));
    });
    if (progress) progress(position);
  }
  return sequences;
}

}  // namespace kvpareto
