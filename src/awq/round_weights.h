#pragma once
// From the f32 weights of a linear to codes, scales and zero points, with what is known of its inputs.

#include <cstdint>
#include <span>
#include <vector>

#include "awq/factor.h"
#include "quant/weight_codec.h"

namespace kvpareto {

// Codes of a matrix in groups along its rows: value = scale * (code - zero).
struct RoundedWeights {
  WeightFormat format;  // kInt8 (zero is 128), kInt4 or kInt3
  int64_t rows = 0, columns = 0;
  std::vector<uint8_t> codes;  // [rows, columns]
  std::vector<f16> scales;     // [rows, columns / group]
  std::vector<uint8_t> zeros;  // [rows, columns / group]

  int64_t groups() const { return columns / format.group; }
  float value(int64_t row, int64_t column) const;
  std::vector<float> values() const;  // [rows, columns]
  void divide_rows(std::span<const float> by);
};

// The codes in use: eight bits are symmetric about 128.
int least_code(const WeightFormat& format);
int most_code(const WeightFormat& format);

// Scale and zero point of one group; inverse is 0 where the scale vanishes.
struct GroupRange {
  f16 scale;
  uint8_t zero = 0;
  float inverse = 0;
};
// Of the values from their smallest to their largest, zero always among them. With `importance` f32 [count] both ends
// are drawn in, in steps of 5 % down to 65 %, where the sum of importance * error^2 is least: AWQ's clipping search.
GroupRange fit_group(const WeightFormat& format, const float* values, const float* importance, int64_t count);

struct RoundingOptions {
  bool compensate = true;  // later columns make up for what rounding earlier ones did to the outputs; else to nearest
  bool clip = true;        // clipping search in every group
};

// `weights` f32 [rows, factor.columns()]; format.group divides the columns. Deterministic, whatever the threads.
RoundedWeights round_weights(Backend& backend, std::span<const float> weights, const WeightFormat& format,
                             const Factor& factor, const RoundingOptions& options);

// Round to nearest in plain ranges, without any knowledge of inputs: the control.
RoundedWeights round_plainly(std::span<const float> weights, int64_t columns, const WeightFormat& format);

}  // namespace kvpareto
