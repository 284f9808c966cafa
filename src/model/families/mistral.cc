#include "model/family.h"

namespace kvpareto {

// Mistral 7B (arXiv 2310.06825): Llama's decoder; v0.1 was trained with a window of 4096 tokens, v0.3 without.
const Family kMistral = {.architecture = "mistral"};

}  // namespace kvpareto
