#include "model/family.h"

namespace kvpareto {

// Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115). The bias of k_proj makes a few key channels huge.
const Family kQwen2 = {.architecture = "qwen2", .qkv_bias = true};

}  // namespace kvpareto
