#pragma once
// A Linear in host memory: rows of bf16, or panels of codes (quant/weight_panel.h); the same bytes for every backend
// that computes on the host.

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "quant/weight_panel.h"

namespace kvpareto {

// One part of a weight: rows [first_row, first_row + rows) of the matrix.
struct WeightSegment {
  WeightFormat format;
  int64_t first_row, rows, columns;
  Buffer data;

  bool is_bf16() const { return format.codec == WeightCodec::kBf16; }
  const bf16* row(int64_t r) const { return data.as<bf16>() + r * columns; }                   // of a bf16 segment
  Panel panels() const { return Panel::first_of(format, rows, columns, data.as<uint8_t>()); }  // of any other
};

class HostLinear : public Linear {
 public:
  HostLinear(LinearSpec spec, std::vector<WeightSegment> segments, Buffer bias);
  const LinearSpec& spec() const override { return spec_; }
  size_t bytes() const override;
  std::span<const WeightSegment> segments() const { return segments_; }
  const float* bias() const { return bias_.as<float>(); }  // null if there is none
  // One row as numbers, in the arithmetic of their type.
  template <typename Number>
  void decode_row(int64_t row, Number* out) const;

 private:
  LinearSpec spec_;
  std::vector<WeightSegment> segments_;
  Buffer bias_;
};

// Made panel by panel in parallel, so that nothing but the result and a few rows is in memory.
std::unique_ptr<HostLinear> make_host_linear(Backend& backend, const LinearSpec& spec,
                                             std::span<const WeightSource> sources, std::span<const float> bias);
size_t host_linear_bytes(const LinearSpec& spec);

// Below this all of 32 inputs count as zero: its inverse overflows.
inline constexpr float kSmallestInput = 1e-30f;

// Rounds 32 neighbouring inputs of a product to int8: x = scale * q, scale = max |x| / 127. f32 arithmetic in this
// order, so that every backend has the same codes. Returns the scale, which is NaN if an input is not finite.
KVPARETO_INLINE float round_inputs(const float* x, int8_t* codes) {
  float largest = 0, poison = 0;
  for (int i = 0; i < kPanelColumns; ++i) {
    const float size = x[i] < 0 ? -x[i] : x[i];
    if (size > largest) largest = size;
    poison += x[i] * 0.0f;
  }
  const float inverse = largest > kSmallestInput ? 127.0f / largest : 0.0f;
  for (int i = 0; i < kPanelColumns; ++i) {
    const float code = x[i] * inverse + 0x1.8p23f - 0x1.8p23f;  // ties to even
    codes[i] = code >= -127 && code <= 127 ? static_cast<int8_t>(code) : int8_t{0};
  }
  return largest / 127.0f + poison;
}

template <typename Number>
void HostLinear::decode_row(int64_t row, Number* out) const {
  for (const WeightSegment& segment : segments_) {
    const int64_t r = row - segment.first_row;
    if (r >= segment.rows) continue;
    if (!segment.is_bf16()) return decode_panel_row(segment.panels() + r / kPanelRows, r % kPanelRows, out);
    for (int64_t c = 0; c < segment.columns; ++c) out[c] = to_float(segment.row(r)[c]);
    return;
  }
}

}  // namespace kvpareto
