#include "report/synthetic_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"

namespace kvpareto {
namespace {

constexpr double kWeights = 269e6, kCacheOf16 = 94.4e6;
constexpr int kContext = 4608;

Regime regime_of(Like like, int texts) {
  Regime regime;
  regime.model = like == Like::kSmall ? "SmolLM2-135M-Instruct.Q4_1.gguf" : "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
  regime.model_hash = "8f3a6b1c99d04e27";
  regime.context = kContext;
  regime.prefill = 4096;
  regime.scored = 512;
  regime.step = 128;
  regime.texts = texts;
  regime.text_hash = "51c0ffee12ab34cd";
  regime.text_origin = "self-sampled, seed 1";
  regime.seed = 1;
  return regime;
}

// Divergence of one side at `bits`, in nats/token, near what is published of these models.
double key_loss(Like like, int bits) {
  if (like == Like::kCliff) return bits == 16 ? 0 : bits == 8 ? .021 : bits == 4 ? 1.2 : bits == 3 ? 3.4 : 6.1;
  return bits == 16 ? 0 : bits == 8 ? .00012 : bits == 4 ? .030 : bits == 3 ? .21 : 1.6;
}
double value_loss(int bits) {
  return bits == 16 ? 0 : bits == 8 ? .00006 : bits == 4 ? .0051 : bits == 3 ? .026 : .132;
}

double stored_bits(int bits, int group) { return bits == 16 ? 16 : bits + 32.0 / group; }

// Canonical text: groups of 64 are not written.
std::string scheme_text(int k, int v, int group) {
  const std::string suffix = (k == 16 && v == 16) || group == 64 ? "" : fmt::format("g{}", group);
  return fmt::format("k{}v{}{}", k, v, suffix);
}

void add(std::vector<Measurement>& list, Like like, int k, int v, int group, int chunk, Random& random) {
  const double bits = (stored_bits(k, group) + stored_bits(v, group)) / 2;
  const double coarse = group == 64 ? 1.25 : 1;
  const double loss = coarse * (key_loss(like, k) + value_loss(v)) * (1 + .04 * random.normal());
  const double kv = kCacheOf16 * bits / 16, scratch = 2.4e6 + 21e3 * chunk, logits = 6.3e6;
  Measurement m = synthetic_point(scheme_text(k, v, group), chunk, kWeights + kv + scratch + logits, std::abs(loss));
  m.regime = regime_of(like, 8);
  m.values["kv_bytes"] = {kv, 0, 1};
  m.values["scratch_bytes"] = {scratch, 0, 1};
  m.values["logits_bytes"] = {logits, 0, 1};
  m.values["process_peak_bytes"] = {m.value("peak_bytes") + 131e6, 0, 1};
  m.values["effective_bits"] = {bits, 0, 1};
  m.values["prefill_ts"] = {(1180 - 70000.0 / (chunk + 60)) * (k == 16 ? 1 : .96) + 8 * random.normal(), 6, 8};
  m.values["decode_ts"] = {46 - 6 * bits / 16 + .3 * random.normal(), .4, 8};
  const double needle = std::clamp(1.03 - loss * 1.1, 0.0, 1.0), many = std::clamp(.62 - loss * 1.3, 0.0, 1.0);
  m.values["needle"] = {std::round(needle * 40) / 40, .02, 40};
  m.values["needle_multikey"] = {std::round(many * 40) / 40, .07, 40};
  list.push_back(m);
}

MemoryCurve curve_of(int k, int v, int group) {
  MemoryCurve curve;
  curve.kv = scheme_text(k, v, group);
  const double bits = (stored_bits(k, group) + stored_bits(v, group)) / 2;
  for (int context = 1024; context <= 32768; context *= 2) {
    curve.contexts.push_back(context);
    curve.weights_bytes.push_back(kWeights);
    curve.kv_bytes.push_back(23040.0 * context * bits / 16);
    curve.scratch_bytes.push_back(7.8e6 + 90.0 * context);
    curve.logits_bytes.push_back(6.3e6);
  }
  return curve;
}

}  // namespace

Measurement synthetic_point(const std::string& kv, int chunk, double peak_bytes, double divergence, int texts) {
  Measurement m;
  m.point = {"w16", kv, chunk};
  m.regime = regime_of(Like::kSmall, texts);
  m.values["weights_bytes"] = {kWeights, 0, 1};
  m.values["peak_bytes"] = {peak_bytes, 0, 1};
  m.values["kld_mean"] = {divergence, divergence * .06, texts};
  m.values["kld_p999"] = {divergence * 14, divergence * 2, texts};
  m.values["same_top"] = {std::exp(-2.2 * std::sqrt(divergence)), .002, texts};
  m.values["delta_nll"] = {divergence * .9, divergence * .2, texts};
  m.provenance = {"0.1.0", "AMD EPYC 9R14, AVX512-BF16, 2 threads", "2026-11-24T03:12:30Z", 21.5};
  return m;
}

ReportInput synthetic_study(Like like) {
  ReportInput input;
  Random random(7);
  for (const int k : {16, 8, 4, 3, 2}) {
    for (const int v : {16, 8, 4, 3, 2}) {
      for (const int group : {64, 32}) {
        if (k == 16 && v == 16 && group == 32) continue;
        add(input.measurements, like, k, v, group, 256, random);
      }
    }
  }
  for (const int chunk : {128, 512, 1024}) {
    add(input.measurements, like, 16, 16, 64, chunk, random);
    add(input.measurements, like, 8, 8, 64, chunk, random);
    add(input.measurements, like, 8, 4, 64, chunk, random);
    add(input.measurements, like, 4, 4, 32, chunk, random);
  }
  Measurement failed = input.measurements.back();
  failed.point = {"w16", "k2v2g32", 2048};
  failed.state = State::kFailed;
  failed.reason = "peak of 512.3 MiB wanted, 480.0 MiB allowed";
  failed.values.clear();
  input.measurements.push_back(failed);
  input.curves = {curve_of(16, 16, 64), curve_of(8, 8, 64), curve_of(8, 4, 64), curve_of(4, 4, 32)};
  for (int layer = 0; layer < 24; ++layer) {
    const bool fragile = like == Like::kCliff && (layer == 0 || layer == 8);
    for (const auto& [side, loss] : std::map<std::string, double>{{"k4", fragile ? .3 : .003},
                                                                  {"k2", fragile ? 1.5 : .06},
                                                                  {"v4", .0003},
                                                                  {"v2", layer == 1 ? .06 : .006}}) {
      const double value = loss * std::exp(.5 * random.normal());
      input.probes.push_back(synthetic_point(fmt::format("k16v16,{}:{}", layer, side), 256, 360e6, value));
    }
    for (const auto& [kind, loss] : std::map<std::string, double>{{"qkv", .001}, {"down", layer == 2 ? .05 : .003}}) {
      Measurement probe = synthetic_point("k16v16", 256, 340e6, loss * std::exp(.5 * random.normal()));
      probe.point.weights = fmt::format("w16,{}.{}:w4g128", layer, kind);
      input.probes.push_back(probe);
    }
  }
  return input;
}

}  // namespace kvpareto
