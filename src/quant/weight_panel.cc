#include "quant/weight_panel.h"

#include <cstring>

namespace kvpareto {
namespace {

// codes u8 [8 steps][64] to a plane of `bits`, of which `shift` are left out.
void pack_plane(const uint8_t* codes, int bits, int shift, uint8_t* plane) {
  const int mask = (1 << bits) - 1;
  std::memset(plane, 0, static_cast<size_t>(bits) * kPlaneBytes);
  for (int step = 0; step < kSteps; ++step) {
    uint8_t* vector = plane + step % bits * kPlaneBytes;
    for (int i = 0; i < kPlaneBytes; ++i) {
      const int code = codes[step * kPlaneBytes + i] >> shift & mask;
      vector[i] = static_cast<uint8_t>(vector[i] | code << (step / bits * bits));
    }
  }
}

}  // namespace

void pack_unit(const WeightUnit* rows, const BasicPanel<uint8_t>& panel, int64_t unit) {
  const WeightFormat& format = panel.format;
  const WeightCodecInfo& info = info_of(format.codec);
  const int64_t first = unit * format.unit();
  uint8_t* header = panel.unit(first);
  uint8_t* bytes = header + info.halves * kPanelRows * 2;
  for (size_t r = 0; r < kPanelRows; ++r) {
    for (size_t i = 0; i < static_cast<size_t>(info.halves); ++i) {
      std::memcpy(header + (i * kPanelRows + r) * 2, &rows[r].halves[i], sizeof(f16));
    }
    for (size_t i = 0; i < static_cast<size_t>(info.bytes); ++i) bytes[i * kPanelRows + r] = rows[r].bytes[i];
  }
  uint8_t codes[kBlockCodes];
  for (size_t c = 0; c < static_cast<size_t>(format.unit()); c += kPanelColumns) {
    for (size_t r = 0; r < kPanelRows; ++r) {
      for (size_t step = 0; step < kSteps; ++step) {
        std::memcpy(codes + step * kPlaneBytes + 4 * r, &rows[r].codes[c + 4 * step], 4);
      }
    }
    const auto block = BasicBlock<uint8_t>::of(panel, first + static_cast<int64_t>(c));
    pack_plane(codes, info.low_bits, 0, block.low);
    if (info.high_bits > 0) pack_plane(codes, info.high_bits, info.low_bits, block.high);
  }
}

}  // namespace kvpareto
