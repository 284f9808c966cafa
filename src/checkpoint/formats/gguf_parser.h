#pragma once
// The header of a GGUF v3 file as a table of contents: metadata and tensors, every bound checked against the bytes that
// there are. Format: github.com/ggml-org/ggml, docs/gguf.md.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/formats/gguf_metadata.h"
#include "quant/gguf_blocks.h"

namespace kvpareto {

struct GgufTensor {
  TensorInfo info;
  const GgufBlockFormat* format = nullptr;
  uint64_t offset = 0;  // of its data in the file
};

struct GgufContents {
  std::vector<GgufValue> metadata;  // sorted by key; views into the bytes parsed
  std::vector<GgufTensor> tensors;  // in the file's order
  uint64_t data_begin = 0;          // where the header ends and tensor data begins, at most the file's size
};

// Throws Error (kFailure) naming `path` unless the whole header is sound and all tensor data lies inside `bytes`.
// Memory used is a small multiple of the header's size, whatever its counts claim.
GgufContents parse_gguf(std::span<const uint8_t> bytes, const std::string& path);

}  // namespace kvpareto
