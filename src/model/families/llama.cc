#include "model/family.h"

namespace kvpareto {

// Llama 2, 3, 3.1 and 3.2, SmolLM2 (arXiv 2307.09288, 2407.21783, 2502.02737); Mistral in GGUF files. From 3.1 on the
// slow pairs are slowed down for long contexts (rope_scaling.h).
const Family kLlama = {.architecture = "llama", .interleaved_in_gguf = true};

}  // namespace kvpareto
