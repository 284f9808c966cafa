#pragma once
// Rows of a matrix that stay in the file: read one by one when they are needed, as an embedding's are that nothing is
// multiplied by. They are no memory of the process; what the system keeps of the file is the system's to take back.

#include <cstdint>
#include <span>
#include <string>

#include "base/file.h"
#include "quant/gguf_blocks.h"
#include "tensor/tensor.h"

namespace kvpareto {

// Where the rows of a tensor lie, one behind the other.
struct RowsPlace {
  std::string path;
  uint64_t offset = 0;
  const GgufBlockFormat* format = nullptr;
  int64_t columns = 0;

  int64_t row_blocks() const { return columns / format->values; }
  int64_t row_bytes() const { return row_blocks() * format->bytes; }
};

class StoredRows {
 public:
  // Throws Error (kFailure): the file cannot be opened any more.
  explicit StoredRows(const RowsPlace& place) : place_(place), file_(place.path) {}

  // out f32 [rows, columns] = the rows named, which must be rows of the tensor. Throws Error (kFailure): the file
  // cannot be read or has become shorter.
  void read(std::span<const int32_t> rows, Tensor out) const;

 private:
  RowsPlace place_;
  FileReader file_;
};

}  // namespace kvpareto
