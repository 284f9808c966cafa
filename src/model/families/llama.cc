#include "model/family.h"

namespace kvpareto {

// Llama 2 and 3, SmolLM2 (arXiv 2302.13971, 2407.21783, 2502.02737).
const Family kLlama = {.architecture = "llama", .qkv_bias = false, .interleaved_rows = true};

}  // namespace kvpareto
