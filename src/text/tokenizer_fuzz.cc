// Random vocabularies must be refused with an Error or work; random text must come back.
#include <cstdlib>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace {

using kvpareto::Vocabulary;

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t next() { return size_ == 0 ? 0 : (--size_, *data_++); }
  std::string text(size_t size) {
    std::string taken;
    while (taken.size() < size && size_ > 0) taken.push_back(static_cast<char>(next()));
    return taken;
  }
  std::string rest() { return text(size_); }

 private:
  const uint8_t* data_;
  size_t size_;
};

// The 256 bytes (unless the input says otherwise), then merges of earlier tokens and tokens of any text.
Vocabulary random_vocabulary(Bytes& bytes) {
  static constexpr const char* kNames[] = {"smollm", "qwen2", "llama-bpe", ""};
  Vocabulary vocabulary;
  const uint8_t flags = bytes.next();
  vocabulary.model = flags & 1 && flags & 2 ? "llama" : "gpt2";
  vocabulary.pre_tokenizer = kNames[flags >> 2 & 3];
  for (int byte = flags & 16 && flags & 32 ? 128 : 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(kvpareto::byte_character(static_cast<uint8_t>(byte)));
    vocabulary.token_types.push_back(1);
  }
  for (int i = bytes.next() % 32; i > 0; --i) {
    const uint8_t kind = bytes.next();
    if (kind < 200) {
      const size_t count = vocabulary.tokens.size();
      const std::string& left = vocabulary.tokens[(bytes.next() + 256 * (kind & 1)) % count];
      const std::string& right = vocabulary.tokens[(bytes.next() + 256 * (kind >> 1 & 1)) % count];
      const std::string merged = left + right;
      vocabulary.merges.push_back(left + " " + right);
      vocabulary.tokens.push_back(merged);
      vocabulary.token_types.push_back(1);
    } else {
      if (kind & 8) vocabulary.single_word.insert(static_cast<int32_t>(vocabulary.tokens.size()));
      vocabulary.tokens.push_back(bytes.text(kind % 8));
      vocabulary.token_types.push_back(kind % 5 + 2);
    }
  }
  if (flags & 64) vocabulary.merges.push_back(bytes.text(5));
  if (flags & 128) vocabulary.beginning = bytes.next() - 2;
  vocabulary.add_beginning = flags & 1;
  vocabulary.end = bytes.next();
  return vocabulary;
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const Vocabulary vocabulary = random_vocabulary(bytes);
  const std::string text = bytes.rest();
  try {
    const kvpareto::Tokenizer tokenizer(vocabulary);
    // Pieces put a space before a text and drop what they have no token for; qwen2 composes characters.
    const bool keeps_all = vocabulary.model == "gpt2" && vocabulary.pre_tokenizer != "qwen2" &&
                           tokenizer.find(kvpareto::byte_character(0));
    for (const bool parse_special : {false, true}) {
      const auto ids = tokenizer.encode(text, parse_special, false);
      for (int32_t id : ids) require(id >= 0 && id < tokenizer.size());
      const std::string back = tokenizer.decode(ids, true);
      require(!keeps_all || back == text);
    }
  } catch (const kvpareto::Error& error) {
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
