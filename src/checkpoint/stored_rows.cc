#include "checkpoint/stored_rows.h"

#include <algorithm>
#include <array>

namespace kvpareto {

void StoredRows::read(std::span<const int32_t> rows, Tensor out) const {
  std::array<uint8_t, 8192> piece;
  const GgufBlockFormat& format = *place_.format;
  const int64_t blocks = place_.row_blocks();
  const int64_t most = static_cast<int64_t>(piece.size()) / format.bytes;
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint64_t row = place_.offset + static_cast<uint64_t>(rows[i] * place_.row_bytes());
    float* values = out.row<float>(static_cast<int64_t>(i));
    for (int64_t block = 0; block < blocks; block += most) {
      const int64_t count = std::min(most, blocks - block);
      file_.read(row + static_cast<uint64_t>(block * format.bytes),
                 {piece.data(), static_cast<size_t>(count * format.bytes)});
      format.decode(piece.data(), count, values + block * format.values);
    }
  }
}

}  // namespace kvpareto
