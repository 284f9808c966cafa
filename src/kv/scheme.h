#pragma once
// How keys and values are stored, as data: printable, comparable, parsed back.
//
//   k8v4g64                                   int8 keys, int4 values, each token's channels in groups of 64
//   k4t32.pre.v4g32.had                       int4 keys before RoPE, one scale a channel over 32 tokens; rotated int4
//   values k4v4g64.recent64.sink4,0-1:k8,27:k8v8     the newest 64 and the first 4 tokens exact; more bits in three
//   layers
//
//   scheme   := base { "," layers ":" change }       layers: 7 or 0-3
//   base     := "k" side [ "." ] "v" side { "." whole }   whole: recent<tokens>, sink<tokens>, atp
//   change   := [ "k" side ] [ [ "." ] "v" side ]     what is not written stays as it is in the base
//   side     := bits [ grouping ] { "." option }     bits: 16 (bf16), 8, 4, 3, 2, q8, q4 (as GGUF's q8_0 and q4_0)
//   grouping := "g" channels | "gh" | "t" tokens | "b" tokens "x" channels | "p"
//
// A side of the base without grouping takes the other's, or g64 if neither has one. Canonical text drops what is so
// implied. To add an option of a side: a member of SideScheme and a line in the table of scheme.cc.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "quant/codec.h"

namespace kvpareto {

inline constexpr int kDefaultGroup = 64;
inline constexpr int kWholeHead = 0;   // as a group: all channels of the head
inline constexpr int kWholeLayer = 0;  // as a span: all tokens, and all heads
inline constexpr int kMostLayers = 1024;
inline constexpr int kMostExact = 4096;  // tokens of a window

// What is subtracted from every token before it is packed, a vector for each layer, head and channel.
enum class Offset : uint8_t {
  kNone,
  kMean,  // mean of the first kFreezeTokens tokens (behind the sinks), frozen then (SageAttention, arXiv 2410.02367)
  kBias,  // bias of the k or v projection: what makes Qwen2's keys large (docs/METHODS.md)
};

struct SideScheme {
  Codec codec = Codec::kBf16;
  int group = kDefaultGroup;  // channels that share scale and minimum; kWholeHead for all
  int span = 1;               // consecutive tokens that share them; kWholeLayer: one scale for the layer ("per tensor")
  Fit fit = Fit::kRange;
  Offset offset = Offset::kNone;
  bool rotated = false;  // Hadamard over the head's channels (arXiv 2404.00456, 2604.19157)
  bool before_rope =
      false;  // keys as they are before RoPE, which turns them when they are read (KVQuant, arXiv 2401.18079)

  bool operator==(const SideScheme& other) const;
};

struct LayerScheme {
  SideScheme keys, values;
  bool operator==(const LayerScheme&) const = default;
};

class KvScheme {
 public:
  KvScheme() = default;
  explicit KvScheme(LayerScheme base) : base_(base) {}
  const LayerScheme& base() const { return base_; }
  const LayerScheme& at(int layer) const {
    const auto found = changed_.find(layer);
    return found == changed_.end() ? base_ : found->second;
  }
  // Layers that differ from the base.
  const std::map<int, LayerScheme>& changed() const { return changed_; }
  void change(int layer, const LayerScheme& to);

  int recent = 0;  // newest tokens kept exact (KIVI, arXiv 2402.02750); groups over tokens round up to whole spans
  int sinks = 0;   // first tokens kept exact (StreamingLLM, arXiv 2309.17453)
  bool attend_first = false;  // attend, then pack: tokens of the step in flight are seen exactly

  bool operator==(const KvScheme&) const = default;

 private:
  LayerScheme base_;
  std::map<int, LayerScheme> changed_;
};

std::string to_text(const KvScheme& scheme);
// Throws Error (kUsage) naming the part that is wrong and the nearest valid text.
KvScheme parse_scheme(std::string_view text);
// The texts of schemes between commas; a part that begins with a digit is an override of the scheme before it.
std::vector<std::string> split_schemes(std::string_view list);

// One side as users of llama.cpp and vLLM write it: "f16", "bf16", "int8", "q8_0", "int4g32", "4", "int4t32.pre". f16
// is stored as bf16. Throws Error (kUsage) with the nearest valid name.
SideScheme parse_side(std::string_view text);
std::string to_text(const SideScheme& side);  // "bf16", "int4g32", "q8_0", "int4t32.pre"

// Empty if the scheme can be stored for heads of this size, else one line with the nearest valid choice. `biased`: the
// model's projections of keys and values have a bias.
std::string why_invalid(const KvScheme& scheme, int layers, int head_dim, bool biased);

}  // namespace kvpareto
