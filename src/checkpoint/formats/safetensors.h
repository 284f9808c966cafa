#pragma once
// The header of a safetensors file as a table of contents, every bound checked against the bytes that there are, and a
// writer. Format: github.com/huggingface/safetensors (8 bytes: the header's length; a JSON object of tensors with type,
// shape and offsets; their data without gaps).

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace kvpareto {

struct SafetensorsTensor {
  std::string name;
  std::string type;            // "BF16"
  std::vector<int64_t> shape;  // slowest first; a scalar is [1]
  uint64_t offset = 0;         // of its data in the file
  uint64_t bytes = 0;
};

struct SafetensorsContents {
  std::vector<SafetensorsTensor> tensors;  // in the order of their data
  uint64_t data_begin = 0;
};

bool is_safetensors(std::span<const uint8_t> bytes);

// Throws Error (kFailure) naming `path` unless the whole header is sound and the tensors' data fills the file.
SafetensorsContents parse_safetensors(std::span<const uint8_t> bytes, const std::string& path);

// Bytes of one element; 0 if the format has no such type.
int bytes_of_safetensors_type(std::string_view type);

// A tensor to be written: `write` is called once, in order, and gives its `bytes` (offset is ignored) piece by piece.
struct SafetensorsSource {
  SafetensorsTensor tensor;
  std::function<void(const std::function<void(std::span<const uint8_t>)>& put)> write;
};

// Writes a temporary file and renames it. `metadata` becomes __metadata__. Throws Error (kFailure) as write_file()
// does, and if a source gives other than its bytes.
void write_safetensors(const std::string& path, std::span<const SafetensorsSource> sources,
                       const std::map<std::string, std::string>& metadata);

}  // namespace kvpareto
