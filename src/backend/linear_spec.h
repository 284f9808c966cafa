#pragma once
// What a Linear is before it has weights: enough to say what it will take, and what it is made from.

#include <cstdint>
#include <functional>
#include <variant>
#include <vector>

#include "quant/weight_codec.h"
#include "quant/weight_scheme.h"

namespace kvpareto {

// A weight matrix [rows, columns] of parts one below the other, each held in one format.
struct LinearSpec {
  struct Part {
    WeightFormat format;
    int64_t rows;
    bool operator==(const Part&) const = default;
  };
  std::vector<Part> parts;
  int64_t columns = 0;
  bool bias = false;
  Activations activations = kDefaultActivations;  // of parts that are not bf16

  int64_t rows() const {
    int64_t sum = 0;
    for (const Part& part : parts) sum += part.rows;
    return sum;
  }
  bool operator==(const LinearSpec&) const = default;
};

inline LinearSpec bf16_spec(int64_t rows, int64_t columns, bool bias) {
  return {.parts = {{WeightFormat(), rows}}, .columns = columns, .bias = bias};
}

// Where the numbers of a part come from; all are called from several threads.
// Writes rows [begin, begin + count) as f32 [count, columns]: for bf16, and to be rounded to nearest.
using RowReader = std::function<void(int64_t begin, int64_t count, float* out)>;
// Writes unit `unit` of a row, already quantized (an AWQ checkpoint's codes, scale, zero point): kept bit for bit.
using UnitReader = std::function<void(int64_t row, int64_t unit, WeightUnit& out)>;
// The blocks of one row as a GGUF file holds them: for the formats of GGUF.
using BlockReader = std::function<const uint8_t*(int64_t row)>;
using WeightSource = std::variant<RowReader, UnitReader, BlockReader>;

}  // namespace kvpareto
