#pragma once
// What each layer bears: the divergence when one side of one layer alone has few bits and all the rest has 16. The
// points are ordinary ones whose scheme says so ("k16v16,7:k4t32.pre"); nothing else marks them in a study.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

struct LayerProbe {
  int layer;
  std::string side;  // "k4t32.pre", "v2": what the layer's keys or values are stored as
};
// None if the scheme changes anything but one side of one layer of a 16-bit cache.
std::optional<LayerProbe> layer_probe(std::string_view kv);
inline bool is_layer_probe(const Measurement& m) { return layer_probe(m.point.kv).has_value(); }

// "K int4", "V int2 g32.had", "K q8".
std::string side_name(std::string_view side);

// A side of a layer stands out if it costs more than this many times the median over the layers...
inline constexpr double kStandsOut = 5;
// ...and more than this (nats/token): what is lost below is not worth bits anywhere.
inline constexpr double kLeastCost = 1e-4;

struct Sensitivity {
  struct Layer {
    int layer;
    std::vector<Estimate> loss;  // nats/token, one a side; NaN where it was not measured
  };
  Regime regime;
  int chunk = 0;
  std::vector<std::string> sides;  // keys before values, more bits before fewer: "k4", "k2", "v4", "v2"
  std::vector<double> medians;     // of each side over the layers
  std::vector<Layer> layers;       // ascending

  double times_median(const Layer& layer, size_t side) const { return layer.loss[side].value / medians[side]; }
  bool stands_out(const Layer& layer, size_t side) const;
};

// The table of the probes among the measurements that share regime, chunk and weights with most of them (of two such
// sets the later one); what is no probe, or failed, plays no part. Empty without any.
Sensitivity sensitivity_of(std::span<const Measurement> measurements);

// Who stands out, in one sentence: "K int4 in layers 0 (34×), 8 (9×); V int2 in layer 1 (6×)". Empty if nobody does.
std::string who_stands_out(const Sensitivity& sensitivity);

}  // namespace kvpareto
