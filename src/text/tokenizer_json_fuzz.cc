// libFuzzer over tokenizer.json: whatever the bytes are, they make a tokenizer that encodes and decodes, or are refused
// in one line. Seeds: testdata/tokenizer_json_corpus.
#include <cstdlib>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const kvpareto::Tokenizer tokenizer(kvpareto::parse_tokenizer_json(json, "fuzz.json"));
    for (const std::string text : {"", "the <s> \xe4\xb8\xad 12\n\xff</s>", "  a  "}) {
      for (const int32_t id : tokenizer.encode(text, true, true)) {
        if (id < 0 || id >= tokenizer.size()) std::abort();
        tokenizer.decode({&id, 1}, true);
      }
    }
  } catch (const kvpareto::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
