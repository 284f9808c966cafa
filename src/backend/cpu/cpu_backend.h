#pragma once
// x86-64: own kernels (kernels.h) for everything that is not a large dense product, oneDNN (dense.h) for those.

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"

namespace kvpareto {

// `instruction_set` is one of cpu_instruction_sets().
std::unique_ptr<Backend> make_cpu_backend(const std::string& instruction_set);

}  // namespace kvpareto
