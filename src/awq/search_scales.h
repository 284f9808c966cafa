#pragma once
// AWQ's scales (arXiv 2306.00978): input channels that matter are made larger before rounding and smaller again in what
// comes before, so that they are rounded more finely. One exponent for a group of linears with the same input.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "awq/second_moment.h"
#include "quant/weight_codec.h"

namespace kvpareto {

// A matrix of a scale group.
struct ScaledLinear {
  std::span<const float> weights;  // f32 [rows, columns]
  WeightFormat format;
};

struct ChannelScales {
  double exponent = 0;
  std::vector<float> scales;  // [columns]; all 1 where nothing helped
};

// scales = (root mean square of each channel)^exponent about their geometric mean, confined to 1/4 .. 4; the exponent
// of 0, .05, ... .95 with the least output error of the rounded linears, on up to 512 rows of each. The squared
// error of a column counts by its `importance` (Factor::importance()). `tie`, if given, makes the scales of channels
// equal that must be: it gets their logarithms.
ChannelScales search_scales(std::span<const ScaledLinear> linears, std::span<const float> importance,
                            std::span<const float> squares, const std::function<void(std::span<float>)>& tie = {});

}  // namespace kvpareto
