// libFuzzer over the GGUF reader: whatever the bytes are, they open and can be read, or are refused in one line.
//
//   cmake --preset fuzz && ninja -C build/fuzz gguf_fuzz
//   build/fuzz/src/gguf_fuzz -max_len=65536 NEW_FINDINGS_FOLDER testdata/gguf_corpus
//
// testdata/gguf_corpus holds headers of real shape, made by the script in it.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoint/formats/gguf.h"

namespace {

constexpr int64_t kMostValues = 1 << 20;  // read from one tensor, for speed alone

void read_all(const kvpareto::Checkpoint& checkpoint) {
  checkpoint.fingerprint();
  checkpoint.number("block_count");
  checkpoint.text("pooling");
  std::vector<float> rows;
  for (const kvpareto::TensorInfo& info : checkpoint.tensors()) {
    const int64_t count = std::min(info.rows(), kMostValues / info.columns());
    rows.resize(static_cast<size_t>(count * info.columns()));
    checkpoint.read(info, info.rows() - count, count, rows.data());
    checkpoint.release(info);
  }
  checkpoint.vocabulary();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    read_all(*kvpareto::open_gguf({data, size}, "fuzz.gguf"));
  } catch (const kvpareto::Error& error) {
    const std::string message = error.what();
    const bool clear = error.exit() == kvpareto::Exit::kFailure && message.starts_with("fuzz.gguf: ") &&
                       message.find('\n') == std::string::npos && message.size() < 1000;
    if (!clear) {
      std::fprintf(stderr, "unclear refusal: %s\n", message.c_str());
      std::abort();
    }
  }
  return 0;
}
