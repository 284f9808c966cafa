#pragma once
// Quantized matrices of a Hugging Face folder: several tensors that together are one weight. How their bytes lie is
// said in docs/WEIGHTS.md.
//
//   awq    NAME.qweight i32 [columns, rows / 8], NAME.qzeros i32 [groups, rows / 8], NAME.scales f16 [groups, rows]
//   plain  NAME.codes u8 [rows, columns * bits / 8], NAME.scales f16 [rows, groups], NAME.zeros u8 [rows, groups]

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/formats/safetensors.h"
#include "quant/weight_codec.h"

namespace kvpareto {

// One of the tensors, and where its bytes are.
struct PackedPart {
  SafetensorsTensor tensor;
  const uint8_t* data = nullptr;
};

class PackedMatrix {
 public:
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const WeightFormat& format() const { return format_; }
  uint64_t bytes() const;
  const std::array<PackedPart, 3>& parts() const { return parts_; }

  // Codes, scale and zero point of unit `unit` (a group) of a row.
  void read_unit(int64_t row, int64_t unit, WeightUnit& out) const;
  // Rows [begin, begin + count) as f32 [count, columns].
  void read(int64_t begin, int64_t count, float* out) const;

 private:
  friend class PackedParts;
  bool awq_ = false;
  WeightFormat format_;
  int64_t rows_ = 0, columns_ = 0;
  std::array<PackedPart, 3> parts_;  // codes, scales, zeros; no zeros with 8 bits
};

// Puts matrices together out of a folder's tensors.
class PackedParts {
 public:
  // What config.json says (HfConfig): one format of all in AWQ's layout, or a format by GGUF's name in the plain one.
  // Errors begin with `path`.
  PackedParts(std::optional<WeightFormat> awq, std::map<std::string, WeightFormat, std::less<>> formats,
              std::string path)
      : awq_(awq), formats_(std::move(formats)), path_(std::move(path)) {}

  // False if the name's ending is none of this layout. Throws Error (kFailure) on a name that was there before.
  bool take(const PackedPart& part);
  // Whole matrices by GGUF's name ("blk.3.attn_q.weight"). Throws Error (kFailure) where parts are missing or
  // contradict each other.
  std::map<std::string, PackedMatrix> matrices() const;

 private:
  PackedMatrix matrix(const std::string& stem, const std::map<std::string, PackedPart, std::less<>>& parts) const;

  std::optional<WeightFormat> awq_;
  std::map<std::string, WeightFormat, std::less<>> formats_;
  std::string path_;
  std::map<std::string, std::map<std::string, PackedPart, std::less<>>> found_;  // by Hugging Face's name and ending
};

}  // namespace kvpareto
