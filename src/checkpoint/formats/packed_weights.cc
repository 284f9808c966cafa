#include "checkpoint/formats/packed_weights.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/formats/hf_config.h"

namespace kvpareto {
namespace {

constexpr int kNibbles = 8;
// Where an i32 of AWQ holds each of its eight channels.
constexpr int kPlaces[kNibbles] = {0, 4, 1, 5, 2, 6, 3, 7};

using Endings = std::array<std::string_view, 3>;  // codes, scales, zeros
constexpr Endings kAwqEndings = {".qweight", ".scales", ".qzeros"}, kPlainEndings = {".codes", ".scales", ".zeros"};
constexpr int64_t kMostSize = int64_t{1} << 31;

uint32_t word_at(const uint8_t* data, int64_t place) {
  uint32_t word;
  std::memcpy(&word, data + place * 4, sizeof word);
  return word;
}
uint8_t nibble_of(const uint8_t* words, int64_t place, int64_t row) {
  return static_cast<uint8_t>(word_at(words, place) >> (4 * kPlaces[row % kNibbles]) & 15);
}
f16 half_at(const uint8_t* data, int64_t place) {
  f16 half;
  std::memcpy(&half, data + place * 2, sizeof half);
  return half;
}

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace

uint64_t PackedMatrix::bytes() const {
  uint64_t sum = 0;
  for (const PackedPart& part : parts_) sum += part.tensor.bytes;
  return sum;
}

void PackedMatrix::read_unit(int64_t row, int64_t unit, WeightUnit& out) const {
  const int64_t group = format_.group, groups = columns_ / group, begin = unit * group;
  const uint8_t *codes = parts_[0].data, *scales = parts_[1].data, *zeros = parts_[2].data;
  if (awq_) {
    const int64_t words = rows_ / kNibbles, word = row / kNibbles;
    for (int64_t i = 0; i < group; ++i)
      out.codes[static_cast<size_t>(i)] = nibble_of(codes, (begin + i) * words + word, row);
    out.halves[0] = half_at(scales, unit * rows_ + row);
    out.bytes[0] = nibble_of(zeros, unit * words + word, row);
    return;
  }
  const int bits = format_.bits(), mask = (1 << bits) - 1;
  const uint8_t* row_codes = codes + row * columns_ * bits / 8;
  for (int64_t i = 0; i < group; ++i) {
    const int64_t bit = (begin + i) * bits;
    int two = row_codes[bit / 8];
    if (bit % 8 + bits > 8) two |= row_codes[bit / 8 + 1] << 8;
    out.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(two >> (bit % 8) & mask);
  }
  out.halves[0] = half_at(scales, row * groups + unit);
  if (zeros != nullptr) out.bytes[0] = zeros[row * groups + unit];
}

void PackedMatrix::read(int64_t begin, int64_t count, float* out) const {
  WeightUnit unit;
  for (int64_t r = begin; r < begin + count; ++r) {
    for (int64_t u = 0; u < columns_ / format_.group; ++u) {
      read_unit(r, u, unit);
      const float scale = to_float(unit.halves[0]);
      const int zero = format_.codec == WeightCodec::kInt8 ? info_of(format_.codec).zero : unit.bytes[0];
      for (int i = 0; i < format_.group; ++i)
        *out++ = scale * static_cast<float>(unit.codes[static_cast<size_t>(i)] - zero);
    }
  }
}

bool PackedParts::take(const PackedPart& part) {
  if (!awq_ && formats_.empty()) return false;
  const std::string& name = part.tensor.name;
  for (const std::string_view ending : awq_ ? kAwqEndings : kPlainEndings) {
    if (!name.ends_with(ending)) continue;
    const bool is_new = found_[name.substr(0, name.size() - ending.size())].emplace(ending, part).second;
    if (!is_new) fail("{}: tensor {} appears twice", path_, quoted_name(name));
    return true;
  }
  return false;
}

std::map<std::string, PackedMatrix> PackedParts::matrices() const {
  std::map<std::string, PackedMatrix> out;
  for (const auto& [stem, parts] : found_) out.emplace(gguf_tensor_name(stem + ".weight"), matrix(stem, parts));
  return out;
}

PackedMatrix PackedParts::matrix(const std::string& stem,
                                 const std::map<std::string, PackedPart, std::less<>>& parts) const {
  PackedMatrix matrix;
  matrix.awq_ = awq_.has_value();
  if (matrix.awq_) {
    matrix.format_ = *awq_;
  } else {
    const std::string ours = gguf_tensor_name(stem + ".weight");
    const auto plain = formats_.find(ours.substr(0, ours.rfind('.')));
    if (plain == formats_.end()) fail("{}: config.json does not say how {} is quantized", path_, quoted_name(stem));
    matrix.format_ = plain->second;
  }
  const Endings& endings = matrix.awq_ ? kAwqEndings : kPlainEndings;
  const size_t count = matrix.format_.codec == WeightCodec::kInt8 ? 2 : 3;
  for (size_t i = 0; i < count; ++i) {
    const auto found = parts.find(endings[i]);
    if (found == parts.end()) fail("{}: tensor {} is missing", path_, quoted_name(stem + std::string(endings[i])));
    matrix.parts_[i] = found->second;
  }
  const std::vector<int64_t>& shape = matrix.parts_[0].tensor.shape;
  const int bits = matrix.format_.bits(), group = matrix.format_.group;
  // Widths are bounded so that the products below cannot overflow.
  const bool sound = shape.size() == 2 && shape[0] > 0 && shape[1] > 0 && shape[0] < kMostSize && shape[1] < kMostSize;
  if (sound) {
    matrix.rows_ = matrix.awq_ ? shape[1] * kNibbles : shape[0];
    matrix.columns_ = matrix.awq_ ? shape[0] : shape[1] * 8 / bits;
  }
  const bool whole = sound && matrix.columns_ % group == 0 && (matrix.awq_ || shape[1] * 8 % bits == 0);
  if (!whole) {
    fail("{}: tensor {} has shape {}, wanted input channels in groups of {}{}", path_,
         quoted_name(matrix.parts_[0].tensor.name), shape_text(shape), group,
         matrix.awq_ ? " by words of eight output channels" : "");
  }
  const int64_t groups = matrix.columns_ / group;
  const auto demand = [&](size_t part, std::string_view type, const std::vector<int64_t>& wanted) {
    const SafetensorsTensor& tensor = matrix.parts_[part].tensor;
    if (tensor.type == type && tensor.shape == wanted) return;
    fail("{}: tensor {} should be {} {}, found {} {}", path_, quoted_name(tensor.name), type, shape_text(wanted),
         tensor.type, shape_text(tensor.shape));
  };
  demand(0, matrix.awq_ ? "I32" : "U8", shape);
  demand(1, "F16", matrix.awq_ ? std::vector{groups, matrix.rows_} : std::vector{matrix.rows_, groups});
  if (count == 3) {
    demand(2, matrix.awq_ ? "I32" : "U8",
           matrix.awq_ ? std::vector{groups, shape[1]} : std::vector{matrix.rows_, groups});
  }
  // A code of its own bits, which products count on; AWQ's words have no room for others.
  if (count == 3 && !matrix.awq_) {
    const std::span<const uint8_t> zeros(matrix.parts_[2].data, static_cast<size_t>(matrix.rows_ * groups));
    const int largest = *std::ranges::max_element(zeros), most = (1 << bits) - 1;
    if (largest > most) {
      fail("{}: tensor {} has a zero point of {}, wanted 0 to {}", path_, quoted_name(matrix.parts_[2].tensor.name),
           largest, most);
    }
  }
  return matrix;
}

}  // namespace kvpareto
