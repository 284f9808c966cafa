#include "model/family.h"

namespace kvpareto {

// Qwen3, dense (arXiv 2505.09388): no biases, normalized queries and keys, heads wider than hidden / heads.
const Family kQwen3 = {.architecture = "qwen3", .query_key_norm = true};

}  // namespace kvpareto
