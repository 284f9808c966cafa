#include "study/measurement.h"

#include <limits>

namespace kvpareto {

double Measurement::value(const std::string& figure) const {
  const auto found = values.find(figure);
  return found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->second.value;
}

}  // namespace kvpareto
