#include "backend/packed_side.h"

#include <algorithm>

namespace kvpareto {
namespace {

struct Row {
  uint8_t* codes;
  f16* scales;
  f16* minimums;
};

Row row_of(const PackedSide& side, int64_t head, int64_t token) {
  uint8_t* block = side.block(head, token);
  const int64_t place = token % kBlockTokens;
  return {block + static_cast<size_t>(place) * side.row_bytes,
          reinterpret_cast<f16*>(block + side.scales_offset) + place * side.groups(),
          reinterpret_cast<f16*>(block + side.minimums_offset) + place * side.groups()};
}

}  // namespace

void encode_row(const PackedSide& side, int64_t head, int64_t token, const float* values) {
  const Row row = row_of(side, head, token);
  if (side.codec == Codec::kBf16) {
    for (int c = 0; c < side.head_dim; ++c) reinterpret_cast<bf16*>(row.codes)[c] = to_bf16(values[c]);
    return;
  }
  const int levels = (1 << bits_of(side.codec)) - 1;
  for (int g = 0; g < side.groups(); ++g) {
    const float* group = values + g * side.group;
    const auto [low, high] = std::minmax_element(group, group + side.group);
    const GroupFit fit = fit_group(*low, *high, levels);
    row.scales[g] = fit.scale;
    row.minimums[g] = fit.minimum;
    const float scale = to_float(fit.scale), inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int c = 0; c < side.group; c += kChunk) {
      uint8_t codes[kChunk];
      for (int i = 0; i < kChunk; ++i) codes[i] = encode_value(group[c + i], to_float(fit.minimum), inverse, levels);
      pack_chunk(side.codec, codes, row.codes + static_cast<size_t>((g * side.group + c) / kChunk) * chunk_bytes(side.codec));
    }
  }
}

void decode_row(const PackedSide& side, int64_t head, int64_t token, float* out) {
  const Row row = row_of(side, head, token);
  if (side.codec == Codec::kBf16) {
    for (int c = 0; c < side.head_dim; ++c) out[c] = to_float(reinterpret_cast<const bf16*>(row.codes)[c]);
    return;
  }
  for (int c = 0; c < side.head_dim; c += kChunk) {
    uint8_t codes[kChunk];
    unpack_chunk(side.codec, row.codes + static_cast<size_t>(c / kChunk) * chunk_bytes(side.codec), codes);
    const int g = c / side.group;
    const float scale = to_float(row.scales[g]), minimum = to_float(row.minimums[g]);
    for (int i = 0; i < kChunk; ++i) out[c + i] = minimum + scale * static_cast<float>(codes[i]);
  }
}

}  // namespace kvpareto
