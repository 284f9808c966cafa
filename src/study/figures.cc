#include <algorithm>

#include "study/measurement.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

using enum Better;

// What follows from the list of tasks.
std::vector<Figure> task_figures() {
  std::vector<Figure> list;
  for (const TaskFacts& task : task_facts()) {
    if (task.kind == ScoreKind::kPerplexity) {
      list.push_back({task.name, "", kLess, task.label, task.description, task.name});
    } else {
      list.push_back({task.name, "fraction", kMore, task.label, task.description, task.name});
    }
    for (const TaskFacts::Also& also : task.also) {
      list.push_back({task.name + also.ending, "fraction", kMore, also.label, also.description, task.name});
    }
    list.push_back(
        {task.name + "_nll", "nats/token", kLess, task.label + " NLL",
         "Negative log-likelihood of the right answer's tokens, through the cache: finer than right or wrong.",
         task.name});
  }
  return list;
}

// The one list of what can be measured, in the order of columns. To add a figure: a line here; whoever measures it puts
// it into Measurement::values under the same name.
std::vector<Figure> make_figures() {
  std::vector<Figure> list = {
      {"weights_bytes", "bytes", kLess, "Weights", "Model weights as held in memory."},
      {"kv_bytes", "bytes", kLess, "KV cache", "Packed keys and values with their scales, offsets and exact tail."},
      {"scratch_bytes", "bytes", kLess, "Scratch", "Working memory of one step: activations, attention tiles."},
      {"logits_bytes", "bytes", kLess, "Logits", "Scores over the vocabulary of one step."},
      {"peak_bytes", "bytes", kLess, "Peak memory", "Weights + KV cache + scratch + logits, as allocated."},
      {"predicted_peak_bytes", "bytes", kLess, "Predicted peak", "The same sum from the model's metadata alone."},
      {"process_peak_bytes", "bytes", kLess, "Process peak", "Largest resident set of the whole process (VmHWM)."},
      {"effective_bits", "bits/value", kLess, "Bits",
       "Bits of one cached value, its share of scales and offsets included."},
      {"clamped", "fraction", kLess, "Clamped", "Values outside the range that was frozen for one scale a layer."},
      {"kld_mean", "nats/token", kLess, "Divergence",
       "Mean Kullback-Leibler divergence of the next-token distribution from the 16-bit baseline, through the cache."},
      {"kld_p999", "nats/token", kLess, "Divergence 99.9 %", "The divergence that one token in a thousand exceeds."},
      {"kld_held_out", "nats/token", kLess, "Divergence, held out",
       "The same on texts that the search has not seen; of finalists alone."},
      {"same_top", "fraction", kMore, "Same top token", "Tokens at which the likeliest next token is the baseline's."},
      {"delta_nll", "nats/token", kLess, "NLL increase",
       "Negative log-likelihood of the text's own tokens, minus the baseline's."},
      {"ppl", "", kLess, "Perplexity", "Exponential of the mean negative log-likelihood of the text's own tokens."},
  };
  for (Figure& figure : task_figures()) list.push_back(std::move(figure));
  const Figure speed[] = {
      {"prefill_ts", "tokens/s", kMore, "Prefill", "Prompt tokens read each second."},
      {"decode_ts", "tokens/s", kMore, "Decode", "Tokens generated each second, one at a time."},
      {"avg_seconds", "seconds", kLess, "Time per text", "Seconds that one text took, prefill and scored tokens."},
  };
  list.insert(list.end(), std::begin(speed), std::end(speed));
  return list;
}

}  // namespace

std::span<const Figure> figures() {
  static const std::vector<Figure> list = make_figures();
  return list;
}

const Figure* find_figure(std::string_view name) {
  const auto list = figures();
  const auto found = std::find_if(list.begin(), list.end(), [&](const Figure& f) { return f.name == name; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace kvpareto
