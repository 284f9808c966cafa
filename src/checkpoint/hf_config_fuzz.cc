// libFuzzer over config.json: it is translated or refused in one line. Seeds: testdata/hf_config_corpus.
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "checkpoint/formats/hf_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    kvpareto::parse_hf_config(text, "fuzz.json");
    kvpareto::gguf_tensor_name(text);
  } catch (const kvpareto::Error& error) {
    const std::string_view message = error.what();
    if (!message.starts_with("fuzz.json: ") || message.find('\n') != message.npos || message.size() > 1000)
      std::abort();
  }
  return 0;
}
