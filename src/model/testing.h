#pragma once
// The tiny checkpoints of testdata/, loaded. Included by *_test.cc alone.

#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace kvpareto {

inline constexpr const char* kTinyModels[] = {"tiny-llama", "tiny-llama-hd64", "tiny-qwen2"};

inline std::unique_ptr<Checkpoint> open_tiny(const std::string& name) {
  return open_checkpoint(std::string(KVPARETO_TESTDATA) + "/tiny/" + name + ".gguf");
}
inline Model load_tiny(const std::string& name, Backend& backend, const WeightScheme& scheme = {}) {
  return load_model(*open_tiny(name), backend, scheme);
}

}  // namespace kvpareto
