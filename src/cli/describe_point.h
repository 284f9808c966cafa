#pragma once
// What a point is made of, in the words of the model of quality (search/quality.h): a sampler knows no schemes.

#include "search/space.h"
#include "study/point.h"

namespace kvpareto {

enum class Detail {
  kLayers,   // keys and values layer by layer, always: where layers are chosen one by one
  kTogether  // one effect of all layers together where they are alike
};

// The additive parts of a point of a model with so many layers and channels a head: keys, values, linears ("weights", a
// layer being one kind of linear of one layer) and embedding and head ("table"). Linears that are all alike are one
// effect. Throws Error (kUsage) on a scheme that is none.
Description describe_point(const Point& point, int layers, int head_dim, Detail detail);

}  // namespace kvpareto
