#include "backend/packed_side.h"

#include <algorithm>
#include <vector>

namespace kvpareto {
namespace {

// Scale and minimum of one group of one token.
f16& scale_of(const PackedSide& side, int64_t head, int64_t token, int g) {
  return reinterpret_cast<f16*>(side.block(head, token) + side.scales_offset)[side.fit_index(token, g)];
}
f16& minimum_of(const PackedSide& side, int64_t head, int64_t token, int g) {
  return reinterpret_cast<f16*>(side.block(head, token) + side.minimums_offset)[side.fit_index(token, g)];
}

bf16* exact_row(const PackedSide& side, int64_t head, int64_t token) {
  return reinterpret_cast<bf16*>(side.block(head, token)) + side.place_of(token) * side.head_dim;
}

// The same as numbers, of one channel.
std::pair<float, float> fit_at(const PackedSide& side, int64_t head, int64_t token, int channel) {
  if (side.span == 0) return {to_float(side.whole->scale), to_float(side.whole->minimum)};
  const float scale = to_float(scale_of(side, head, token, channel / side.group));
  if (side.fit == Fit::kSymmetric) return {scale, symmetric_minimum(scale, side.levels())};
  return {scale, to_float(minimum_of(side, head, token, channel / side.group))};
}

// Rows [closing][head_dim] become codes of tokens [token, token + closing) of one head.
void encode_rows(const PackedSide& side, int64_t head, int64_t token, const std::vector<float>& rows) {
  const int d = side.head_dim, tokens = side.closing();
  if (side.codec == Codec::kBf16) {
    std::transform(rows.begin(), rows.end(), exact_row(side, head, token), [](float x) { return to_bf16(x); });
    return;
  }
  for (int g = 0; side.span > 0 && g < side.groups(); ++g) {
    std::vector<float> group;
    for (int t = 0; t < tokens; ++t)
      group.insert(group.end(), &rows[t * d + g * side.group], &rows[t * d + g * side.group] + side.group);
    const auto [low, high] = std::minmax_element(group.begin(), group.end());
    const GroupFit fit = fit_values(side.fit, group.data(), static_cast<int>(group.size()), *low, *high, side.levels());
    scale_of(side, head, token, g) = fit.scale;
    if (side.fit != Fit::kSymmetric) minimum_of(side, head, token, g) = fit.minimum;
  }
  for (int t = 0; t < tokens; ++t) {
    for (int c = 0; c < d; ++c) {
      const auto [scale, minimum] = fit_at(side, head, token + t, c);
      const float value = rows[static_cast<size_t>(t * d + c)];
      const uint8_t code = encode_value(value, minimum, inverse_of(scale), side.levels());
      if (side.span == 0 && is_outside(value, minimum, inverse_of(scale), side.levels())) ++*side.clamped;
      const CodePlace place = side.code_place(token + t, c);
      put_code(side.codec, side.block(head, token) + static_cast<size_t>(place.chunk) * chunk_bytes(side.codec),
               place.at, code);
    }
  }
}

// Packs what may be packed once the sequence has `tokens`.
void close_due(const PackedSide& side, int64_t head, int64_t tokens, int64_t& closed) {
  const auto d = static_cast<size_t>(side.head_dim);
  for (; closed < side.due_now(tokens); closed += side.closing()) {
    std::vector<float> rows;
    for (int64_t token = closed; token < closed + side.closing(); ++token) {
      const bf16* row = side.tail_row(head, token);
      std::transform(row, row + d, std::back_inserter(rows), [](bf16 x) { return to_float(x); });
    }
    encode_rows(side, head, closed, rows);
  }
}

void turn(const float* turns, int half, float* x) {
  for (int c = 0; c < half; ++c) {
    const float a = x[c], b = x[c + half], cosine = turns[c], sine = turns[half + c];
    x[c] = a * cosine - b * sine;
    x[c + half] = b * cosine + a * sine;
  }
}

}  // namespace

void store_rows(const PackedSide& side, const float* x, int64_t row_stride, int64_t tokens, int64_t first) {
  const int d = side.head_dim;
  for (int64_t head = 0; head < side.kv_heads; ++head) {
    int64_t closed = side.closed;
    if (side.tail_rows > 0) close_due(side, head, first, closed);
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = x + t * row_stride + head * d;
      const int64_t token = first + t - side.sinks;
      if (token < 0) {
        std::transform(row, row + d, side.sink_row(head, first + t), [](float v) { return to_bf16(v); });
      } else if (side.direct()) {
        encode_rows(side, head, token, std::vector<float>(row, row + d));
      } else {
        std::transform(row, row + d, side.tail_row(head, token), [](float v) { return to_bf16(v); });
        close_due(side, head, first + t + 1, closed);
      }
    }
  }
}

void decode_row(const PackedSide& side, int64_t head, int64_t token, float* out) {
  const int d = side.head_dim;
  const int64_t behind = token - side.sinks;
  const auto widen = [&](const bf16* row) { std::transform(row, row + d, out, [](bf16 x) { return to_float(x); }); };
  if (behind < 0) {
    widen(side.sink_row(head, token));
  } else if (side.tail_rows > 0 && behind >= side.closed) {
    widen(side.tail_row(head, behind));
  } else if (side.codec == Codec::kBf16) {
    widen(exact_row(side, head, behind));
  } else {
    for (int c = 0; c < d; ++c) {
      const auto [scale, minimum] = fit_at(side, head, behind, c);
      const CodePlace place = side.code_place(behind, c);
      const uint8_t* chunk = side.block(head, behind) + static_cast<size_t>(place.chunk) * chunk_bytes(side.codec);
      out[c] = minimum + scale * static_cast<float>(code_at(side.codec, chunk, place.at));
    }
  }
  if (!side.before_rope) return;
  restore_values(side, head, out);
  turn(side.turns + token % kBlockTokens * d, d / 2, out);
  turn(side.block_turns + token / kBlockTokens * d, d / 2, out);
}

void freeze_side(const PackedSide& side, bool find_mean) {
  const int d = side.head_dim, tokens = side.freeze_tokens;
  float low = 0, high = 0;
  for (int64_t head = 0; head < side.kv_heads; ++head) {
    for (int c = 0; find_mean && c < d; ++c) {
      double sum = 0;
      for (int t = 0; t < tokens; ++t) sum += to_float(side.tail_row(head, t)[c]);
      const auto mean = static_cast<float>(sum / tokens);
      side.offset[head * d + c] = mean;
      for (int t = 0; t < tokens; ++t) {
        bf16& x = side.tail_row(head, t)[c];
        x = to_bf16(to_float(x) - mean);
      }
      for (int t = 0; t < side.sinks; ++t) {
        bf16& x = side.sink_row(head, t)[c];
        x = to_bf16(to_float(x) - mean);
      }
    }
    for (int64_t i = 0; i < int64_t{tokens} * d; ++i) {
      const float x = to_float(side.tail_row(head, i / d)[i % d]);
      low = head == 0 && i == 0 ? x : std::min(low, x);
      high = head == 0 && i == 0 ? x : std::max(high, x);
    }
  }
  if (side.span == 0) *side.whole = fit_group(low, high, side.levels());
}

}  // namespace kvpareto
