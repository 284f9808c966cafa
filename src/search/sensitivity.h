#pragma once
// What each layer bears: the divergence when one side of one layer alone has few bits and all the rest has 16. A side
// is its keys or its values, or the weights of one kind of its linears. The points are ordinary ones whose scheme says
// so
// ("k16v16,7:k4t32.pre", "w16,7.down:w4g128"); nothing else marks them in a study.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "study/measurement.h"

namespace kvpareto {

struct LayerProbe {
  int layer;
  std::string side;  // "k4t32.pre", "v2": what the layer's keys or values are stored as; "down:w4g128": its weights
};
// None if the scheme changes anything but one side of one layer of a 16-bit cache.
std::optional<LayerProbe> layer_probe(std::string_view kv);
// None if the weights change anything but one kind of linear of one layer of a 16-bit model.
std::optional<LayerProbe> weights_probe(std::string_view weights);
inline bool is_layer_probe(const Measurement& m) {
  return layer_probe(m.point.kv).has_value() || weights_probe(m.point.weights).has_value();
}
enum class Probed { kCache, kWeights };

// "K int4", "V int2 g32.had", "K q8", "down w4g128".
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
  // Keys before values, linears as data meets them, more bits before fewer: "k4", "k2", "v4", "v2".
  std::vector<std::string> sides;
  std::vector<double> medians;  // of each side over the layers
  std::vector<Layer> layers;    // ascending

  double times_median(const Layer& layer, size_t side) const { return layer.loss[side].value / medians[side]; }
  bool stands_out(const Layer& layer, size_t side) const;
};

// The table of the probes of the cache (or of the weights) among the measurements that share regime, chunk and weights
// (or cache) with most of them (of two such sets the later one); what is no such probe, or failed, plays no part. Empty
// without any.
Sensitivity sensitivity_of(std::span<const Measurement> measurements, Probed what = Probed::kCache);

// Who stands out, in one sentence: "K int4 in layers 0 (34×), 8 (9×); V int2 in layer 1 (6×)". Empty if nobody does.
std::string who_stands_out(const Sensitivity& sensitivity);

}  // namespace kvpareto
