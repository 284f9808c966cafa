#include "quant/gguf_blocks.h"

#include <fmt/format.h>

#include <cstring>

#include "tensor/float_types.h"

namespace kvpareto {
namespace {

uint16_t load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint32_t load32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

float load_f16(const uint8_t* bytes) { return to_float(f16{load16(bytes)}); }

void decode_f32(const uint8_t* block, float* out) { std::memcpy(out, block, sizeof *out); }
void decode_f16(const uint8_t* block, float* out) { *out = load_f16(block); }
void decode_bf16(const uint8_t* block, float* out) { *out = to_float(bf16{load16(block)}); }

// Blocks of 32 put values 0 to 15 in the low halves of 16 bytes and 16 to 31 in the high halves.

void decode_q4_0(const uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const uint8_t* low = block + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((low[i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((low[i] >> 4) - 8);
  }
}

void decode_q4_1(const uint8_t* block, float* out) {
  const float scale = load_f16(block), minimum = load_f16(block + 2);
  const uint8_t* low = block + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(low[i] & 15) + minimum;
    out[i + 16] = scale * static_cast<float>(low[i] >> 4) + minimum;
  }
}

void decode_q5_0(const uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const uint32_t high = load32(block + 2);
  const uint8_t* low = block + 6;
  for (int i = 0; i < 16; ++i) {
    const int first = (low[i] & 15) | static_cast<int>((high >> i & 1) << 4);
    const int second = (low[i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
    out[i] = scale * static_cast<float>(first - 16);
    out[i + 16] = scale * static_cast<float>(second - 16);
  }
}

void decode_q5_1(const uint8_t* block, float* out) {
  const float scale = load_f16(block), minimum = load_f16(block + 2);
  const uint32_t high = load32(block + 4);
  const uint8_t* low = block + 8;
  for (int i = 0; i < 16; ++i) {
    const int first = (low[i] & 15) | static_cast<int>((high >> i & 1) << 4);
    const int second = (low[i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
    out[i] = scale * static_cast<float>(first) + minimum;
    out[i + 16] = scale * static_cast<float>(second) + minimum;
  }
}

void decode_q8_0(const uint8_t* block, float* out) {
  const float scale = load_f16(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

// Blocks of 256 hold 16 groups of 16 or 8 of 32 whose scales are integers, with one or two f16 factors for the block.

void decode_q2_k(const uint8_t* block, float* out) {
  const uint8_t *scales = block, *low = block + 16;
  const float scale_factor = load_f16(block + 80), minimum_factor = load_f16(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = scale_factor * static_cast<float>(scales[group] & 15);
    const float minimum = minimum_factor * static_cast<float>(scales[group] >> 4);
    const uint8_t* bytes = low + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) *out++ = scale * static_cast<float>(bytes[i] >> shift & 3) - minimum;
  }
}

void decode_q3_k(const uint8_t* block, float* out) {
  const uint8_t *high = block, *low = block + 32, *scales = block + 96;
  const float scale_factor = load_f16(block + 108);
  for (int group = 0; group < 16; ++group) {
    // Six bits of a scale: four in a half of the first eight bytes, two in the last four bytes.
    const int scale_low = scales[group % 8] >> (group / 8 * 4) & 15;
    const int scale_high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = scale_factor * static_cast<float>((scale_low | scale_high << 4) - 32);
    const uint8_t* bytes = low + group / 8 * 32 + group % 2 * 16;
    const uint8_t* high_bytes = high + group % 2 * 16;
    const int shift = group % 8 / 2 * 2, high_shift = group / 2;
    for (int i = 0; i < 16; ++i) {
      // The high bit is stored inverted: set means that nothing is subtracted.
      const int offset = (high_bytes[i] >> high_shift & 1) != 0 ? 0 : 4;
      *out++ = scale * static_cast<float>((bytes[i] >> shift & 3) - offset);
    }
  }
}

struct ScaleMinimum {
  int scale, minimum;
};

// Eight scales and eight minima of six bits in twelve bytes: the first four of each lie whole in the low bits of bytes
// 0-3 and 4-7; the other four have their low four bits in bytes 8-11 and their high two on top of bytes 0-7.
ScaleMinimum scale_and_minimum(const uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  const int low = packed[group + 4];
  return {(low & 15) | (packed[group - 4] >> 6) << 4, (low >> 4) | (packed[group] >> 6) << 4};
}

void decode_q4_k(const uint8_t* block, float* out) {
  const float scale_factor = load_f16(block), minimum_factor = load_f16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleMinimum integers = scale_and_minimum(block + 4, group);
    const float scale = scale_factor * static_cast<float>(integers.scale);
    const float minimum = minimum_factor * static_cast<float>(integers.minimum);
    const uint8_t* bytes = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) *out++ = scale * static_cast<float>(bytes[i] >> shift & 15) - minimum;
  }
}

void decode_q5_k(const uint8_t* block, float* out) {
  const float scale_factor = load_f16(block), minimum_factor = load_f16(block + 2);
  const uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const ScaleMinimum integers = scale_and_minimum(block + 4, group);
    const float scale = scale_factor * static_cast<float>(integers.scale);
    const float minimum = minimum_factor * static_cast<float>(integers.minimum);
    const uint8_t* bytes = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int value = (bytes[i] >> shift & 15) | (high[i] >> group & 1) << 4;
      *out++ = scale * static_cast<float>(value) - minimum;
    }
  }
}

void decode_q6_k(const uint8_t* block, float* out) {
  const float scale_factor = load_f16(block + 208);
  for (int group = 0; group < 16; ++group) {
    const float scale = scale_factor * static_cast<float>(static_cast<int8_t>(block[192 + group]));
    const uint8_t* low = block + group / 8 * 64 + group % 4 * 16;
    const uint8_t* high = block + 128 + group / 8 * 32 + group % 2 * 16;
    const int low_shift = group % 8 / 4 * 4, high_shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      const int value = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
      *out++ = scale * static_cast<float>(value - 32);
    }
  }
}

// Codes of 4 bits that stand for these numbers, dense about 0 (ggml-common.h).
constexpr int8_t kUneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void put_uneven(const uint8_t* codes, float scale, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(kUneven[codes[i] & 15]);
    out[i + 16] = scale * static_cast<float>(kUneven[codes[i] >> 4]);
  }
}

void decode_iq4_nl(const uint8_t* block, float* out) { put_uneven(block + 2, load_f16(block), out); }

void decode_iq4_xs(const uint8_t* block, float* out) {
  const float scale = load_f16(block);
  const uint16_t high = load16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = block[4 + group / 2] >> (group % 2 * 4) & 15, factor = low | (high >> (2 * group) & 3) << 4;
    put_uneven(block + 8 + 16 * group, scale * static_cast<float>(factor - 32), out + 32 * group);
  }
}

// A table row whose loop over blocks is instantiated with the decoder of one block.
template <int64_t kValues, int64_t kBytes, void (*decode_block)(const uint8_t*, float*)>
constexpr GgufBlockFormat format(std::string_view name, uint32_t id) {
  return {name, id, kValues, kBytes, [](const uint8_t* blocks, int64_t count, float* out) {
            for (int64_t i = 0; i < count; ++i) decode_block(blocks + i * kBytes, out + i * kValues);
          }};
}

constexpr GgufBlockFormat kFormats[] = {
    format<1, 4, decode_f32>("F32", 0),
    format<1, 2, decode_f16>("F16", 1),
    format<1, 2, decode_bf16>("BF16", 30),
    format<32, 18, decode_q4_0>("Q4_0", 2),
    format<32, 20, decode_q4_1>("Q4_1", 3),
    format<32, 22, decode_q5_0>("Q5_0", 6),
    format<32, 24, decode_q5_1>("Q5_1", 7),
    format<32, 34, decode_q8_0>("Q8_0", 8),
    format<256, 84, decode_q2_k>("Q2_K", 10),
    format<256, 110, decode_q3_k>("Q3_K", 11),
    format<256, 144, decode_q4_k>("Q4_K", 12),
    format<256, 176, decode_q5_k>("Q5_K", 13),
    format<256, 210, decode_q6_k>("Q6_K", 14),
    format<32, 18, decode_iq4_nl>("IQ4_NL", 20),
    format<256, 136, decode_iq4_xs>("IQ4_XS", 23),
};

// Types that ggml has and this program does not read, so that a refusal can name them.
struct TypeName {
  uint32_t id;
  std::string_view name;
};
constexpr TypeName kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},
    {22, "IQ2_S"}, {24, "I8"},    {25, "I16"},     {26, "I32"},    {27, "I64"},     {28, "F64"},   {29, "IQ1_M"},
    {34, "TQ1_0"}, {35, "TQ2_0"}, {39, "MXFP4"},   {40, "NVFP4"},  {41, "Q1_0"},
};

}  // namespace

std::span<const GgufBlockFormat> gguf_block_formats() { return kFormats; }

const GgufBlockFormat* find_gguf_block_format(uint32_t id) {
  for (const GgufBlockFormat& candidate : kFormats) {
    if (candidate.id == id) return &candidate;
  }
  return nullptr;
}

std::string gguf_type_name(uint32_t id) {
  if (const GgufBlockFormat* known = find_gguf_block_format(id)) return std::string(known->name);
  for (const TypeName& other : kOtherTypes) {
    if (other.id == id) return std::string(other.name);
  }
  return fmt::format("number {}", id);
}

}  // namespace kvpareto
