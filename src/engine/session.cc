#include "engine/session.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/interrupt.h"

namespace kvpareto {
namespace {

constexpr int kLongestChunk = 1 << 16;

const SessionOptions& checked(const ModelShape& shape, const SessionOptions& options) {
  if (options.context < 1 || options.context > shape.context) {
    fail_usage("context {} is outside what the model was trained for: 1 to {} tokens", options.context, shape.context);
  }
  if (options.chunk < 1 || options.chunk > kLongestChunk) {
    fail_usage("prefill chunk {} is outside 1 to {} tokens", options.chunk, kLongestChunk);
  }
  if (options.logits_rows < 1) fail_usage("logits of {} positions: wanted at least 1", options.logits_rows);
  const std::string reason = why_invalid(options.scheme, shape.layers, shape.head_dim, shape.qkv_bias);
  if (!reason.empty()) fail_usage("KV scheme {}: {}", to_text(options.scheme), reason);
  return options;
}

size_t logits_bytes(const ModelShape& shape, const SessionOptions& options) {
  return Backend::padded(static_cast<size_t>(options.logits_rows) * static_cast<size_t>(shape.vocabulary) *
                         sizeof(float));
}

int longest_step(const SessionOptions& options) { return std::min(options.chunk, options.context); }

CacheShape cache_shape(const ModelShape& shape, const SessionOptions& options) {
  return shape.cache_shape(options.context, longest_step(options));
}

}  // namespace

MemoryParts session_bytes(const ModelShape& shape, const WeightPlan& weights, const Backend& backend,
                          const SessionOptions& options) {
  checked(shape, options);
  return {weights_bytes(shape, weights, backend),
          Backend::padded(cache_bytes(options.scheme, cache_shape(shape, options))),
          Backend::padded(workspace_bytes(shape, weights, backend, longest_step(options), options.context)),
          logits_bytes(shape, options)};
}

Session::Session(const Model& model, const SessionOptions& options)
    : model_(model),
      options_(checked(model.shape, options)),
      cache_(*model.backend, options.scheme, cache_shape(model.shape, options), kv_biases(model)) {
  Backend& backend = *model.backend;
  const int tokens = longest_step(options);
  scratch_ = backend.allocate(workspace_bytes(model.shape, model.weights, backend, tokens, options.context),
                              Purpose::kScratch);
  logits_ = backend.allocate(logits_bytes(model.shape, options), Purpose::kLogits);
  workspace_ = plan_workspace(model, tokens, options.context, scratch_.data());
}

void Session::check(std::span<const int32_t> tokens) const {
  if (tokens.empty() || static_cast<int>(tokens.size()) > longest_step(options_)) {
    fail_usage("a step of {} tokens: wanted 1 to {}", tokens.size(), longest_step(options_));
  }
  for (const int32_t token : tokens) {
    if (token < 0 || token >= model_.shape.vocabulary) {
      fail_usage("token {} is outside the vocabulary: 0 to {}", token, model_.shape.vocabulary - 1);
    }
  }
  const auto count = static_cast<int64_t>(tokens.size());
  if (cache_.tokens() + count > options_.context) {
    fail_usage("the sequence would grow to {} tokens, but the context is {}", cache_.tokens() + count,
               options_.context);
  }
}

void Session::step(std::span<const int32_t> tokens) {
  check(tokens);
  const Stretch stretch{&cache_, static_cast<int64_t>(tokens.size())};
  decode_step(model_, tokens, {&stretch, 1}, workspace_);
}

void Session::prefill(std::span<const int32_t> tokens, const std::function<void(int64_t)>& progress) {
  const auto chunk = static_cast<size_t>(longest_step(options_));
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    stop_if_interrupted();
    const size_t count = std::min(chunk, tokens.size() - begin);
    step(tokens.subspan(begin, count));
    if (progress) progress(static_cast<int64_t>(begin + count));
  }
}

void Session::each_row(int64_t begin, int64_t end, const RowVisitor& row) {
  const int64_t vocabulary = model_.shape.vocabulary;
  for (int64_t r = begin; r < end; r += options_.logits_rows) {
    const int64_t count = std::min<int64_t>(options_.logits_rows, end - r);
    const Tensor logits = tensor(logits_.as<float>(), count, vocabulary);
    compute_logits(model_, final_hidden(model_, workspace_, r, count), workspace_, logits);
    for (int64_t i = 0; i < count; ++i) row(r + i, {logits.row<float>(i), static_cast<size_t>(vocabulary)});
  }
}

void Session::forward(std::span<const int32_t> tokens, const RowVisitor& row) {
  step(tokens);
  each_row(0, static_cast<int64_t>(tokens.size()), row);
}

std::span<const float> Session::next(std::span<const int32_t> tokens) {
  step(tokens);
  std::span<const float> last;
  const auto end = static_cast<int64_t>(tokens.size());
  each_row(end - 1, end, [&](int64_t, std::span<const float> logits) { last = logits; });
  return last;
}

int32_t Session::best_of_row(int64_t row) {
  const Tensor hidden = final_hidden(model_, workspace_, row, 1);
  return best_token(model_, hidden, workspace_, tensor(logits_.as<float>(), 1, model_.shape.vocabulary));
}

int32_t Session::greedy_next(std::span<const int32_t> tokens) {
  step(tokens);
  return best_of_row(static_cast<int64_t>(tokens.size()) - 1);
}

void Session::step_each(std::span<Session* const> sessions, std::span<const int32_t> tokens) {
  Session& first = *sessions.front();
  if (static_cast<int>(sessions.size()) > longest_step(first.options_)) {
    fail_usage("{} sequences in step: wanted at most the chunk of {} tokens", sessions.size(),
               longest_step(first.options_));
  }
  std::vector<Stretch> stretches;
  for (size_t i = 0; i < sessions.size(); ++i) {
    sessions[i]->check(tokens.subspan(i, 1));
    stretches.push_back({&sessions[i]->cache_, 1});
  }
  decode_step(first.model_, tokens, stretches, first.workspace_);
}

void Session::next_of_each(std::span<Session* const> sessions, std::span<const int32_t> tokens, const RowVisitor& row) {
  if (sessions.empty()) return;
  step_each(sessions, tokens);
  sessions.front()->each_row(0, static_cast<int64_t>(sessions.size()), row);
}

void Session::greedy_next_of_each(std::span<Session* const> sessions, std::span<const int32_t> tokens,
                                  std::span<int32_t> chosen) {
  if (sessions.empty()) return;
  step_each(sessions, tokens);
  // For two, half of the head twice is as much to read as the whole of it once.
  if (sessions.size() == 1) {
    chosen.front() = sessions.front()->best_of_row(0);
    return;
  }
  sessions.front()->each_row(0, static_cast<int64_t>(sessions.size()), [&](int64_t i, std::span<const float> logits) {
    chosen[static_cast<size_t>(i)] = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  });
}

std::vector<float> Session::hidden(std::span<const int32_t> tokens) {
  step(tokens);
  const auto rows = static_cast<int64_t>(tokens.size());
  const Tensor states = final_hidden(model_, workspace_, 0, rows);
  std::vector<float> out(tokens.size() * static_cast<size_t>(model_.shape.hidden));
  if (states.type == DType::kF32) {
    std::copy_n(states.as<float>(), out.size(), out.begin());
  } else {
    std::transform(states.as<bf16>(), states.as<bf16>() + out.size(), out.begin(), [](bf16 x) { return to_float(x); });
  }
  return out;
}

void Session::logits_of(std::span<const float> hidden, const RowVisitor& row) {
  const int64_t width = model_.shape.hidden, vocabulary = model_.shape.vocabulary;
  const int64_t rows = static_cast<int64_t>(hidden.size()) / width;
  const int64_t most = std::min<int64_t>(options_.logits_rows, longest_step(options_));
  for (int64_t r = 0; r < rows; r += most) {
    const int64_t count = std::min(most, rows - r);
    const Tensor states = workspace_.normed.slice(0, count);
    const float* from = hidden.data() + r * width;
    if (states.type == DType::kF32) {
      std::copy_n(from, count * width, states.as<float>());
    } else {
      std::transform(from, from + count * width, states.as<bf16>(), [](float x) { return to_bf16(x); });
    }
    const Tensor logits = tensor(logits_.as<float>(), count, vocabulary);
    compute_logits(model_, states, workspace_, logits);
    for (int64_t i = 0; i < count; ++i) row(r + i, {logits.row<float>(i), static_cast<size_t>(vocabulary)});
  }
}

MemoryParts Session::bytes() const { return {model_.bytes(), cache_.bytes(), scratch_.bytes(), logits_.bytes()}; }

size_t process_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;
    std::istringstream fields(line.substr(6));
    size_t kibibytes = 0;
    fields >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

void reset_process_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace kvpareto
