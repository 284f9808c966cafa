#pragma once
// GGUF version 3, little-endian, in one file or in several, any of which may be given (model-00001-of-00003.gguf).

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/mapped_file.h"
#include "checkpoint/checkpoint.h"

namespace kvpareto {

// By the magic number alone, so that a GGUF file of another version is refused as such.
bool is_gguf(std::span<const uint8_t> bytes);

// Throw Error (kFailure) as open_checkpoint does. The second reads from memory that outlives the checkpoint; `path` is
// for messages.
std::unique_ptr<Checkpoint> open_gguf(MappedFile file);
std::unique_ptr<Checkpoint> open_gguf(std::span<const uint8_t> bytes, const std::string& path);

}  // namespace kvpareto
