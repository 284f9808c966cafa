// libFuzzer over the renderer of chat templates: whatever a template says, it renders or is refused in one line, in
// bounded time and memory. Seeds: testdata/jinja_corpus.
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "text/chat.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kvpareto::Message;
  const std::vector<Message> messages = {
      {"system", "Be brief."}, {"user", "W\xc3\xa9ll? <think>\n"}, {"assistant", " So.\n"}, {"user", "x"}};
  try {
    kvpareto::render_chat({reinterpret_cast<const char*>(data), size}, messages, {"<s>", "</s>"});
  } catch (const kvpareto::Error& error) {
    const std::string_view message = error.what();
    if (message.find('\n') != message.npos || message.size() > 1000) std::abort();
  }
  return 0;
}
