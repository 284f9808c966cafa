#pragma once
// Hidden states of the 16-bit baseline kept between runs, a file a text, so that measuring one more configuration does
// not pay for the baseline again.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kvpareto {

// What a reference is of. Equal keys have equal states, bit for bit: the model's file, the tokens (and with them the
// tokenizer), how they were fed, and the program and instruction set that computed.
struct ReferenceKey {
  uint64_t model = 0;  // Model::fingerprint
  std::span<const int32_t> tokens;
  int prefill = 0, scored = 0, step = 0, chunk = 0;
  std::string backend;
};

class ReferenceStore {
 public:
  // An empty folder keeps nothing. The folder is made when something is kept; the oldest files go when all take more
  // than `most_bytes`.
  explicit ReferenceStore(std::string folder = {}, size_t most_bytes = size_t{1} << 30);

  // None if there is none, or none of this size that is whole.
  std::optional<std::vector<float>> find(const ReferenceKey& key, size_t values) const;
  // A folder that cannot be written is passed over: the store only saves time.
  void keep(const ReferenceKey& key, std::span<const float> states) const;

 private:
  std::string path(const ReferenceKey& key) const;
  void make_room() const;

  std::string folder_;
  size_t most_bytes_;
  uint64_t program_ = 0;  // fingerprint of the running program: another build may round in another way
};

// $XDG_CACHE_HOME/kvpareto/references, or that below ~/.cache; empty if neither is known.
std::string default_reference_folder();

}  // namespace kvpareto
