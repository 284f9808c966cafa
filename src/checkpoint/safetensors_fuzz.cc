// libFuzzer over safetensors headers: sound ones name bytes inside the file, others are refused in one line. Seeds:
// testdata/safetensors_corpus.
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "checkpoint/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const kvpareto::SafetensorsContents contents = kvpareto::parse_safetensors({data, size}, "fuzz.safetensors");
    for (const kvpareto::SafetensorsTensor& tensor : contents.tensors) {
      if (tensor.offset > size || tensor.bytes > size - tensor.offset || tensor.shape.empty()) std::abort();
    }
  } catch (const kvpareto::Error& error) {
    const std::string_view message = error.what();
    if (!message.starts_with("fuzz.safetensors: ") || message.find('\n') != message.npos || message.size() > 1000)
      std::abort();
  }
  return 0;
}
