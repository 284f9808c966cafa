#include "kv/catalogue.h"

#include <algorithm>

namespace kvpareto {

std::span<const NamedScheme> catalogue() {
  static constexpr NamedScheme kList[] = {
      {"exact", "k16v16", "16 bits on both sides"},
      {"token-8", "k8v8g64", "per token, KV Pareto (arXiv 2512.01953)"},
      {"token-84", "k8v4g64", "per token, fewer bits for values"},
      {"token-4", "k4v4g64", "per token"},
      {"token-42", "k4v2g32", "per token"},
      {"token-3", "k3v3g32", "per token"},
      {"token-2", "k2v2g32", "per token"},
      {"head-4", "k4v4gh", "per token, the whole head"},
      {"block-4", "k4v4b64x32", "a tile of 64 tokens and 32 channels"},
      {"tensor-8", "k8v8p", "one scale for a layer's keys, one for its values"},
      {"tensor-4", "k4v4p", "one scale for a layer's keys, one for its values"},
      {"q8_0", "kq8vq8", "ggml's blocks"},
      {"q4_0", "kq4vq4", "ggml's blocks"},
      {"q4_0-had", "kq4.had.vq4.had", "ggml's blocks as llama.cpp rotates them"},
      {"smooth-4", "k4.mean.v4g32", "mean of keys taken off (SageAttention, arXiv 2410.02367)"},
      {"rotated-4", "k4.had.v4g32.had", "rotated, per token (arXiv 2604.19157)"},
      {"smooth-rotated-4", "k4.mean.had.v4g32.had", "both"},
      {"bias-free-8", "k8.pre.bias.v8g64", "keys before RoPE without their bias: Qwen2"},
      {"kivi-4", "k4t32v4g32", "keys per channel (KIVI, arXiv 2402.02750)"},
      {"kivi-2", "k2t32v2g32.recent128", "keys per channel, newest tokens exact (KIVI, arXiv 2402.02750)"},
      {"pre-4", "k4t32.pre.v4g32", "keys per channel before RoPE (KVQuant, arXiv 2401.18079)"},
      {"best-5", "k4t64.pre.v4g64.had.recent128.sink4", "measured here: docs/SCHEMES.md"},
      {"best-4", "k3t64.pre.fit.v3g64.had.fit.recent128.sink4", "measured here: docs/SCHEMES.md"},
      {"best-3", "k2t64.pre.fit.v2g64.had.fit.recent128.sink4", "measured here: docs/SCHEMES.md"},
  };
  return kList;
}

std::vector<KvScheme> fitting_schemes(int layers, int head_dim, bool biased) {
  std::vector<KvScheme> schemes;
  for (const NamedScheme& named : catalogue()) {
    const KvScheme scheme = parse_scheme(named.text);
    if (why_invalid(scheme, layers, head_dim, biased).empty()) schemes.push_back(scheme);
  }
  return schemes;
}

KvScheme find_scheme(std::string_view text) {
  const auto list = catalogue();
  const auto found = std::find_if(list.begin(), list.end(), [&](const NamedScheme& s) { return s.name == text; });
  return parse_scheme(found == list.end() ? text : found->text);
}

}  // namespace kvpareto
