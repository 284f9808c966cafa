#include "awq/packing.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/parallel.h"

namespace kvpareto {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr int kNibbles = 8;
constexpr int kOrder[kNibbles] = {0, 2, 4, 6, 1, 3, 5, 7};

using Bytes = std::vector<uint8_t>;

template <typename T>
Bytes bytes_of_vector(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Nibbles [rows, columns] as i32 [columns, rows / 8].
Bytes interleaved(const std::vector<uint8_t>& nibbles, int64_t rows, int64_t columns) {
  const int64_t words = rows / kNibbles;
  std::vector<uint32_t> out(static_cast<size_t>(columns * words));
  parallel_ranges(words, 4, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w) {
      for (int i = 0; i < kNibbles; ++i) {
        const uint8_t* row = nibbles.data() + (w * kNibbles + kOrder[i]) * columns;
        for (int64_t c = 0; c < columns; ++c) out[static_cast<size_t>(c * words + w)] |= uint32_t{row[c]} << (4 * i);
      }
    }
  });
  return bytes_of_vector(out);
}

template <typename T>
std::vector<T> transposed(const std::vector<T>& values, int64_t rows, int64_t columns) {
  std::vector<T> out(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c)
      out[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * columns + c)];
  }
  return out;
}

// Codes one after another, low bits first; 32 codes are whole bytes at any number of bits.
Bytes packed_codes(const RoundedWeights& weights) {
  const int bits = weights.format.bits();
  Bytes out(weights.codes.size() * static_cast<size_t>(bits) / 8);
  uint32_t held = 0;
  int count = 0;
  size_t place = 0;
  for (const uint8_t code : weights.codes) {
    held |= uint32_t{code} << count;
    count += bits;
    for (; count >= 8; count -= 8, held >>= 8) out[place++] = static_cast<uint8_t>(held);
  }
  return out;
}

// A tensor whose bytes are made when it is written.
SafetensorsSource source(const std::string& name, const std::string& type, std::vector<int64_t> shape,
                         std::function<Bytes()> make) {
  uint64_t bytes = static_cast<uint64_t>(bytes_of_safetensors_type(type));
  for (const int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return {{name, type, std::move(shape), 0, bytes}, [make = std::move(make)](const auto& put) { put(make()); }};
}

}  // namespace

std::vector<SafetensorsSource> packed_tensors(const std::string& name, const RoundedWeights& weights, Layout layout) {
  const RoundedWeights* w = &weights;
  const int64_t rows = w->rows, columns = w->columns, groups = w->groups();
  if (layout == Layout::kAwq) {
    return {
        source(name + ".qweight", "I32", {columns, rows / kNibbles},
               [=] { return interleaved(w->codes, rows, columns); }),
        source(name + ".qzeros", "I32", {groups, rows / kNibbles}, [=] { return interleaved(w->zeros, rows, groups); }),
        source(name + ".scales", "F16", {groups, rows},
               [=] { return bytes_of_vector(transposed(w->scales, rows, groups)); })};
  }
  std::vector<SafetensorsSource> tensors = {
      source(name + ".codes", "U8", {rows, columns * w->format.bits() / 8}, [=] { return packed_codes(*w); }),
      source(name + ".scales", "F16", {rows, groups}, [=] { return bytes_of_vector(w->scales); })};
  if (w->format.codec != WeightCodec::kInt8) {
    tensors.push_back(source(name + ".zeros", "U8", {rows, groups}, [=] { return w->zeros; }));
  }
  return tensors;
}

Bytes float_bytes(std::span<const float> values, const std::string& type) {
  const auto width = static_cast<size_t>(bytes_of_safetensors_type(type));
  Bytes bytes(values.size() * width);
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == "F32") {
      std::memcpy(bytes.data() + i * width, &values[i], width);
    } else {
      const uint16_t bits = type == "F16" ? to_f16(values[i]).bits : to_bf16(values[i]).bits;
      std::memcpy(bytes.data() + i * width, &bits, width);
    }
  }
  return bytes;
}

SafetensorsSource float_tensor(const std::string& name, const std::vector<int64_t>& shape, const std::string& type,
                               const std::vector<float>& values) {
  return source(name, type, shape, [&values, type] { return float_bytes(values, type); });
}

uint32_t checksum(const RoundedWeights& weights) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit) made[i] = (made[i] >> 1) ^ ((made[i] & 1) != 0 ? 0xedb88320u : 0);
    }
    return made;
  }();
  uint32_t crc = ~0u;
  for (int64_t r = 0; r < weights.rows; ++r) {
    for (int64_t c = 0; c < weights.columns; ++c) {
      uint32_t bits = std::bit_cast<uint32_t>(weights.value(r, c));
      for (int i = 0; i < 4; ++i, bits >>= 8) crc = table[(crc ^ bits) & 255] ^ (crc >> 8);
    }
  }
  return ~crc;
}

}  // namespace kvpareto
