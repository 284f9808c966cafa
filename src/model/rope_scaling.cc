#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

constexpr double kLargest = 1e12;  // of any number here; the largest known base is 1e9

class Scaling {
 public:
  Scaling(const Checkpoint& file, int head_dim) : file_(file), half_(head_dim / 2) {}

  std::string kind() const { return file_.text("rope.scaling.type").value_or("none"); }
  int half() const { return half_; }

  double positive(std::string_view key) const {
    const std::optional<double> value = file_.number(key);
    if (!value) fail("{}: metadata {} is missing, which RoPE scaling '{}' needs", file_.path(), key, kind());
    return checked(key, *value);
  }
  double positive_or(std::string_view key, double fallback) const {
    return checked(key, file_.number(key).value_or(fallback));
  }
  double original_context() const {
    const double trained = file_.number("context_length").value_or(0);
    return positive_or("rope.scaling.original_context_length", trained);
  }
  // At least 1: positions are never spread.
  double factor() const {
    const double factor = positive("rope.scaling.factor");
    if (factor < 1) fail("{}: metadata rope.scaling.factor should be 1 or more, found {}", file_.path(), factor);
    return factor;
  }
  const Checkpoint& file() const { return file_; }

 private:
  double checked(std::string_view key, double value) const {
    if (value > 0 && value <= kLargest) return value;
    fail("{}: metadata {} should be positive and at most {}, found {}", file_.path(), key, kLargest, value);
  }
  const Checkpoint& file_;
  int half_;
};

// What slows a pair down that is slowed by `factor` in part: `kept` of its speed stays, 0 to 1.
double partly(double factor, double kept) { return 1 / ((1 - kept) / factor + kept); }

void scale_none(const Scaling&, Rope&) {}

void scale_linear(const Scaling& scaling, Rope& rope) { rope.slowdown = Rope::all(scaling.factor()); }

void scale_llama3(const Scaling& scaling, Rope& rope) {
  const double factor = scaling.factor(), context = scaling.original_context();
  const double low = scaling.positive("rope.scaling.low_freq_factor");
  const double high = scaling.positive("rope.scaling.high_freq_factor");
  if (low >= high) {
    fail("{}: metadata rope.scaling.low_freq_factor {} should be below high_freq_factor {}", scaling.file().path(), low,
         high);
  }
  for (int c = 0; c < scaling.half(); ++c) {
    const double length =
        2 * std::numbers::pi * std::pow(rope.base, static_cast<double>(c) / scaling.half());  // of a turn
    const double kept = std::clamp((context / length - low) / (high - low), 0.0, 1.0);
    rope.slowdown[static_cast<size_t>(c)] = partly(factor, kept);
  }
}

void scale_yarn(const Scaling& scaling, Rope& rope) {
  const double factor = scaling.factor(), context = scaling.original_context();
  const double width = 2.0 * scaling.half();
  // The pair that makes so many turns in the original context.
  const auto pair_of = [&](double turns) {
    return width * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(rope.base));
  };
  const double fast = std::max(0.0, std::floor(pair_of(scaling.positive_or("rope.scaling.yarn_beta_fast", 32))));
  const double slow = std::min(width - 1, std::ceil(pair_of(scaling.positive_or("rope.scaling.yarn_beta_slow", 1))));
  const double ramp = slow == fast ? 0.001 : slow - fast;
  for (int c = 0; c < scaling.half(); ++c) {
    rope.slowdown[static_cast<size_t>(c)] = partly(factor, 1 - std::clamp((c - fast) / ramp, 0.0, 1.0));
  }
  rope.magnitude = scaling.positive_or("rope.scaling.attn_factor", 1 + 0.1 * std::log(factor));
}

struct Kind {
  std::string_view name;
  void (*scale)(const Scaling&, Rope&);
};
constexpr Kind kKinds[] = {
    {"none", scale_none}, {"linear", scale_linear}, {"llama3", scale_llama3}, {"yarn", scale_yarn}};

// Factors that a GGUF converter worked out.
void take_factors(const Checkpoint& file, const TensorInfo& factors, int half, Rope& rope) {
  if (factors.shape != std::vector<int64_t>{half}) {
    fail("{}: tensor {} should have shape [{}] by the metadata, found [{}]", file.path(), factors.name, half,
         fmt::join(factors.shape, ", "));
  }
  std::vector<float> values(static_cast<size_t>(half));
  file.read(factors, 0, 1, values.data());
  for (size_t c = 0; c < values.size(); ++c) {
    if (!(values[c] > 0) || !(values[c] <= static_cast<float>(kLargest))) {
      fail("{}: tensor {} should hold positive numbers, found {}", file.path(), factors.name, values[c]);
    }
    rope.slowdown[c] = values[c];
  }
}

}  // namespace

Rope read_rope(const Checkpoint& checkpoint, int head_dim) {
  const Scaling scaling(checkpoint, head_dim);
  Rope rope;
  rope.base = scaling.positive_or("rope.freq_base", 10000);
  if (const TensorInfo* factors = checkpoint.find("rope_freqs.weight")) {
    take_factors(checkpoint, *factors, head_dim / 2, rope);
    return rope;
  }
  std::vector<std::string> known;
  for (const Kind& kind : kKinds) {
    if (kind.name == scaling.kind()) return kind.scale(scaling, rope), rope;
    known.emplace_back(kind.name);
  }
  fail("{}: RoPE scaling '{}' is not supported; supported: {}", checkpoint.path(), scaling.kind(), join(known, ", "));
}

double scaled_context(const Checkpoint& checkpoint, double trained) {
  if (checkpoint.text("rope.scaling.type") != "yarn") return trained;
  const double original = checkpoint.number("rope.scaling.original_context_length").value_or(trained);
  return std::max(trained, std::floor(original * checkpoint.number("rope.scaling.factor").value_or(1)));
}

}  // namespace kvpareto
