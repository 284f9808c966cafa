#pragma once
// The specification: the fewest plain lines, f32 storage, sums in double. Slow on purpose.

#include <memory>

#include "backend/backend.h"

namespace kvpareto {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace kvpareto
