#pragma once
// A weight matrix as AWQ folders hold it (arXiv 2306.00978; the "gemm" packing of AutoAWQ): 4-bit codes of eight output
// channels in a 32-bit word, input channel by input channel, in the order 0 2 4 6 1 3 5 7 from the lowest nibble on;
// zero points likewise and scales in f16 for each group of input channels. value = scale * (code - zero point).

#include <cstdint>

#include "quant/weight_codec.h"

namespace kvpareto {

struct AwqTensor {
  const uint8_t* codes = nullptr;   // I32 [columns, rows / 8]: the transpose of a matrix [rows, columns]
  const uint8_t* zeros = nullptr;   // I32 [columns / group, rows / 8]
  const uint8_t* scales = nullptr;  // F16 [columns / group, rows]
  int64_t rows = 0, columns = 0;
  int group = 0;
};

// Unit (group) `unit` of a row: codes, scale and zero point, bit for bit.
void read_awq_unit(const AwqTensor& tensor, int64_t row, int64_t unit, WeightUnit& out);
// One row as f32 [columns].
void read_awq_row(const AwqTensor& tensor, int64_t row, float* out);

// The 32-bit word that holds the codes of eight neighbouring output channels.
uint32_t awq_word(const uint8_t codes[8]);

}  // namespace kvpareto
