// libFuzzer over the texts of KV schemes and of one side: parsed and written they come back, or they are refused in one
// line.
//
//   cmake --preset fuzz && ninja -C build/fuzz scheme_fuzz
//   build/fuzz/src/scheme_fuzz -max_len=64

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kv/scheme.h"

namespace {

void demand(bool holds, const char* what, const std::string& text) {
  if (holds) return;
  std::fprintf(stderr, "%s: %s\n", what, text.c_str());
  std::abort();
}

template <typename Parse>
void parse_and_return(std::string_view text, Parse parse) {
  try {
    const auto parsed = parse(text);
    const std::string written = to_text(parsed);
    demand(parse(written) == parsed, "does not come back", written);
    demand(to_text(parse(written)) == written, "is not canonical", written);
  } catch (const kvpareto::Error& error) {
    const std::string message = error.what();
    demand(error.exit() == kvpareto::Exit::kUsage && message.size() < 500, "unclear refusal", message);
    for (const char c : message)
      demand(static_cast<unsigned char>(c) >= ' ', "control character in a refusal", message);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_and_return(text, kvpareto::parse_scheme);
  parse_and_return(text, kvpareto::parse_side);
  return 0;
}
