#include "checkpoint/formats/awq_tensor.h"

#include <cstring>

namespace kvpareto {
namespace {

// The nibble of a word where each of its eight channels stands.
constexpr int kNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

template <typename T>
T load(const uint8_t* bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + static_cast<size_t>(index) * sizeof value, sizeof value);
  return value;
}

}  // namespace

void read_awq_unit(const AwqTensor& tensor, int64_t row, int64_t unit, WeightUnit& out) {
  const int64_t words = tensor.rows / 8, word = row / 8;
  const int shift = 4 * kNibble[row % 8];
  for (int i = 0; i < tensor.group; ++i) {
    const auto packed = load<uint32_t>(tensor.codes, (unit * tensor.group + i) * words + word);
    out.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(packed >> shift & 15);
  }
  out.halves[0] = f16{load<uint16_t>(tensor.scales, unit * tensor.rows + row)};
  out.bytes[0] = static_cast<uint8_t>(load<uint32_t>(tensor.zeros, unit * words + word) >> shift & 15);
}

void read_awq_row(const AwqTensor& tensor, int64_t row, float* out) {
  WeightUnit unit;
  for (int64_t u = 0; u < tensor.columns / tensor.group; ++u) {
    read_awq_unit(tensor, row, u, unit);
    const float scale = to_float(unit.halves[0]);
    for (int i = 0; i < tensor.group; ++i)
      *out++ = scale * static_cast<float>(unit.codes[static_cast<size_t>(i)] - unit.bytes[0]);
  }
}

uint32_t awq_word(const uint8_t codes[8]) {
  uint32_t word = 0;
  for (int channel = 0; channel < 8; ++channel)
    word |= static_cast<uint32_t>(codes[channel] & 15) << (4 * kNibble[channel]);
  return word;
}

}  // namespace kvpareto
