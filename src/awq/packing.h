#pragma once
// Codes, scales and zero points as bytes of a safetensors file.
//
// awq   the `gemm` packing of AutoAWQ, 4 bits: eight output channels share an i32, nibble i of it holds channel
//       {0, 2, 4, 6, 1, 3, 5, 7}[i]. qweight i32 [columns, rows / 8], qzeros i32 [columns / group, rows / 8], scales
//       f16 [columns / group, rows]; value = (code - zero) * scale.
// plain this program's own, any format: codes u8 [rows, columns * bits / 8], code k of a row in bits k * bits and up,
// low
//       bits first; scales f16 [rows, columns / group]; zeros u8 [rows, columns / group], none with 8 bits, where zero
//       is 128.

#include <cstdint>
#include <string>
#include <vector>

#include "awq/round_weights.h"
#include "checkpoint/formats/safetensors.h"

namespace kvpareto {

enum class Layout : uint8_t { kAwq, kPlain };

// Tensors that hold these weights, named `name` (".weight" left out) and a suffix. Rows are a multiple of 8 for kAwq.
// They read `weights` when they are written.
std::vector<SafetensorsSource> packed_tensors(const std::string& name, const RoundedWeights& weights, Layout layout);

// f32 values as a tensor of F32, F16 or BF16; `values` must outlive it.
SafetensorsSource float_tensor(const std::string& name, const std::vector<int64_t>& shape, const std::string& type,
                               const std::vector<float>& values);

// Bytes of f32 values rounded to F32, F16 or BF16.
std::vector<uint8_t> float_bytes(std::span<const float> values, const std::string& type);

// CRC-32 (ISO 3309, that of zlib) of the dequantized matrix, f32 [rows, columns] little-endian: what another reader of
// the file has to arrive at, bit for bit.
uint32_t checksum(const RoundedWeights& weights);

}  // namespace kvpareto
