#include "cli/longest_context.h"

namespace kvpareto {

int longest_context(const ModelShape& shape, const WeightPlan& weights, const Backend& backend, const KvScheme& scheme,
                    int chunk, double bytes) {
  // Memory grows with the context.
  int fits = 0, beyond = shape.context + 1;
  while (beyond - fits > 1) {
    const int middle = fits + (beyond - fits) / 2;
    const double needed =
        static_cast<double>(session_bytes(shape, weights, backend, {scheme, middle, chunk, 1}).total());
    (needed <= bytes ? fits : beyond) = middle;
  }
  return fits;
}

}  // namespace kvpareto
