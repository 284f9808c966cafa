#pragma once
// What the charts need of a KV scheme's text. The grammar itself is known to the kv folder alone (kv/scheme.h), which
// the report does not see: text that is not understood here is shown as it is.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvpareto {

struct SchemeBits {
  int k = 16, v = 16;
  // How they are grouped and what is done to them: "g64", "keys t32.pre, values g32.had, recent64"; empty for 16 bits
  // on both sides.
  std::string variant;
};
// None for schemes that are not the same in all layers, and for text that does not begin as schemes do ("k8v4",
// "k8v4g32"); such a point is in the table and on the front alone.
std::optional<SchemeBits> scheme_bits(std::string_view kv);

// Bits of keys and values in each of the first `layers` layers, or as many as the text names, and how they are grouped
// where a layer has groups of its own ("t32"); empty if it is not understood.
struct LayerBits {
  int k = 16, v = 16;
  std::string k_groups = {}, v_groups = {};
  bool operator==(const LayerBits&) const = default;
};
std::vector<LayerBits> bits_by_layer(std::string_view kv, int layers);

}  // namespace kvpareto
