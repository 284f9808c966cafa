#pragma once
// How keys and values are stored, as data: printable, comparable, parsed back. "k8v4g64" is int8 keys and int4 values,
// each token's channels in groups of 64 with one f16 scale and one f16 minimum.
//
//   scheme  := "k" side "v" side
//   side    := bits [ "g" group ]       bits: 16 (bf16), 8, 4, 3, 2     group: channels, or "h" for the whole head
//
// A side without a group takes the other side's, or 64 if neither has one. Canonical text drops what is so implied.
// To add a field: a member of SideScheme and its letter in scheme.cc.

#include <string>
#include <string_view>
#include <vector>

#include "quant/codec.h"

namespace kvpareto {

inline constexpr int kDefaultGroup = 64;
inline constexpr int kWholeHead = 0;

struct SideScheme {
  Codec codec = Codec::kBf16;
  int group = kDefaultGroup;  // channels of one token that share scale and minimum; kWholeHead for all; unused by bf16

  bool operator==(const SideScheme& other) const {
    return codec == other.codec && (group == other.group || !has_scale(codec));
  }
};

struct LayerScheme {
  SideScheme keys, values;
  bool operator==(const LayerScheme&) const = default;
};

class KvScheme {
 public:
  KvScheme() = default;
  explicit KvScheme(LayerScheme all) : all_(all) {}
  const LayerScheme& at(int /*layer*/) const { return all_; }
  bool operator==(const KvScheme&) const = default;

 private:
  LayerScheme all_;
};

std::string to_text(const KvScheme& scheme);
// Throws Error (kUsage) naming the part that is wrong and the nearest valid text.
KvScheme parse_scheme(std::string_view text);

// One side as users of llama.cpp and vLLM write it: "f16", "bf16", "int8", "q8_0", "int4g32", "4". "q8_0" and "q4_0" mean
// groups of 32; f16 is stored as bf16. Throws Error (kUsage) with the nearest valid name.
SideScheme parse_side(std::string_view text);
std::string to_text(const SideScheme& side);  // "bf16", "int4g32"

// Empty if the scheme can be stored for heads of this size, else one line with the nearest valid choice.
std::string why_invalid(const KvScheme& scheme, int layers, int head_dim);

// Mean stored bits per K or V value, scales and minimums included.
double effective_bits(const KvScheme& scheme, int layers, int head_dim);

}  // namespace kvpareto
