#pragma once
// The block formats that tensors of GGUF files are stored in: 32 or 256 neighbouring values of a row share scales, and
// a block is a fixed number of bytes. One table says all there is to know of each; F32, F16 and BF16 are blocks of one
// value.
//
// To add a format: one function that decodes a block and one line in the table of gguf_blocks.cc; testdata/gguf_blocks
// holds golden values of each, made by the script beside them.
//
// The layouts are those of ggml (github.com/ggml-org/ggml, docs/gguf.md and ggml-common.h), little-endian.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kvpareto {

struct GgufBlockFormat {
  std::string_view name;  // as ggml writes it: "Q4_1"
  uint32_t id;            // ggml's type number, which the file holds
  int64_t values;         // in a block
  int64_t bytes;          // of a block
  // `count` blocks to count * values floats. The arithmetic is in f32, in ggml's order. `blocks` need not be aligned.
  void (*decode)(const uint8_t* blocks, int64_t count, float* out);
};

std::span<const GgufBlockFormat> gguf_block_formats();

// Null if the number is none of these.
const GgufBlockFormat* find_gguf_block_format(uint32_t id);

// ggml's name of a type number, readable here or not: "IQ2_XXS"; "number 77" if ggml has none.
std::string gguf_type_name(uint32_t id);

}  // namespace kvpareto
