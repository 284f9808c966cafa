#include "backend/host_linear.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "base/parallel.h"

namespace kvpareto {
namespace {

// Rows read at once.
constexpr int64_t kRowsAtOnce = kPanelRows;

size_t segment_bytes(const LinearSpec::Part& part, int64_t columns) {
  const auto values = static_cast<size_t>(part.rows * columns);
  if (part.format.codec == WeightCodec::kBf16) return values * sizeof(bf16);
  return packed_weight_bytes(part.format, part.rows, columns);
}

void fill_bf16(const WeightSegment& segment, const RowReader& read) {
  parallel_ranges(segment.rows, kRowsAtOnce, [&](int64_t begin, int64_t end) {
    std::vector<float> piece(static_cast<size_t>(kRowsAtOnce * segment.columns));
    for (int64_t r = begin; r < end; r += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, end - r);
      read(r, count, piece.data());
      std::transform(piece.begin(), piece.begin() + count * segment.columns,
                     segment.data.as<bf16>() + r * segment.columns, [](float x) { return to_bf16(x); });
    }
  });
}

// Units of the rows of one panel, from any source.
class PanelReader {
 public:
  PanelReader(const WeightSegment& segment, const WeightSource& source) : segment_(segment), source_(source) {
    if (std::holds_alternative<RowReader>(source)) values_.resize(static_cast<size_t>(kPanelRows * segment.columns));
  }

  void begin(int64_t first, int64_t rows) {
    first_ = first;
    if (const auto* read = std::get_if<RowReader>(&source_)) (*read)(first, rows, values_.data());
    if (const auto* read = std::get_if<BlockReader>(&source_)) {
      for (int64_t r = 0; r < rows; ++r) blocks_[static_cast<size_t>(r)] = (*read)(first + r);
    }
  }

  void unit(int64_t r, int64_t u, WeightUnit& out) const {
    const WeightFormat& format = segment_.format;
    if (!values_.empty()) {
      round_to_nearest(format, values_.data() + r * segment_.columns + u * format.unit(), out);
    } else if (const auto* read = std::get_if<UnitReader>(&source_)) {
      (*read)(first_ + r, u, out);
    } else {
      split_block(format.codec, blocks_[static_cast<size_t>(r)] + static_cast<size_t>(u) * block_bytes(format), out);
    }
  }

 private:
  const WeightSegment& segment_;
  const WeightSource& source_;
  int64_t first_ = 0;
  std::vector<float> values_;  // of the panel's rows
  std::array<const uint8_t*, kPanelRows> blocks_ = {};
};

void fill_panels(const WeightSegment& segment, const WeightSource& source) {
  const WeightFormat& format = segment.format;
  const int64_t panels = panels_of(segment.rows), units = segment.columns / format.unit();
  parallel_ranges(panels, 1, [&](int64_t first, int64_t last) {
    PanelReader reader(segment, source);
    std::array<WeightUnit, kPanelRows> held{};
    for (int64_t p = first; p < last; ++p) {
      const int64_t rows = std::min<int64_t>(kPanelRows, segment.rows - p * kPanelRows);
      if (rows < kPanelRows) held = {};  // what fills up the last panel is zero
      reader.begin(p * kPanelRows, rows);
      const auto panel =
          BasicPanel<uint8_t>::first_of(format, segment.rows, segment.columns, segment.data.as<uint8_t>()) + p;
      for (int64_t u = 0; u < units; ++u) {
        for (int64_t r = 0; r < rows; ++r) reader.unit(r, u, held[static_cast<size_t>(r)]);
        pack_unit(held.data(), panel, u);
      }
    }
  });
}

}  // namespace

HostLinear::HostLinear(LinearSpec spec, std::vector<WeightSegment> segments, Buffer bias)
    : spec_(std::move(spec)), segments_(std::move(segments)), bias_(std::move(bias)) {}

size_t HostLinear::bytes() const {
  size_t sum = bias_.bytes();
  for (const WeightSegment& segment : segments_) sum += segment.data.bytes();
  return sum;
}

std::unique_ptr<HostLinear> make_host_linear(Backend& backend, const LinearSpec& spec,
                                             std::span<const WeightSource> sources, std::span<const float> bias) {
  assert(sources.size() == spec.parts.size() && spec.bias == !bias.empty());
  std::vector<WeightSegment> segments;
  int64_t first = 0;
  for (size_t i = 0; i < spec.parts.size(); ++i) {
    const LinearSpec::Part& part = spec.parts[i];
    assert(part.format.codec == WeightCodec::kBf16 || spec.columns % part.format.unit() == 0);
    segments.push_back({part.format, first, part.rows, spec.columns,
                        backend.allocate(segment_bytes(part, spec.columns), Purpose::kWeights)});
    if (segments.back().is_bf16()) {
      fill_bf16(segments.back(), std::get<RowReader>(sources[i]));
    } else {
      fill_panels(segments.back(), sources[i]);
    }
    first += part.rows;
  }
  Buffer added;
  if (!bias.empty()) {
    added = backend.allocate(bias.size_bytes(), Purpose::kWeights);
    std::copy(bias.begin(), bias.end(), added.as<float>());
  }
  return std::make_unique<HostLinear>(spec, std::move(segments), std::move(added));
}

size_t host_linear_bytes(const LinearSpec& spec) {
  size_t sum = spec.bias ? Backend::padded(static_cast<size_t>(spec.rows()) * sizeof(float)) : 0;
  for (const LinearSpec::Part& part : spec.parts) sum += Backend::padded(segment_bytes(part, spec.columns));
  return sum;
}

}  // namespace kvpareto
