#include "eval/reference_store.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mapped_file.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;

const std::string kEnding = ".states";

uint64_t fingerprint_of_program() {
  try {
    const MappedFile program("/proc/self/exe");
    return hash_bytes(program.bytes().data(), program.bytes().size());
  } catch (const Error&) {
    return 0;
  }
}

// The states, then their hash: a file that was cut off or changed is none.
std::string sealed(std::span<const float> states) {
  const uint64_t seal = hash_bytes(states.data(), states.size_bytes());
  std::string bytes(states.size_bytes() + sizeof seal, '\0');
  std::memcpy(bytes.data(), states.data(), states.size_bytes());
  std::memcpy(bytes.data() + states.size_bytes(), &seal, sizeof seal);
  return bytes;
}

}  // namespace

ReferenceStore::ReferenceStore(std::string folder, size_t most_bytes)
    : folder_(std::move(folder)), most_bytes_(most_bytes) {
  if (!folder_.empty()) program_ = fingerprint_of_program();
  if (program_ == 0) folder_.clear();
}

std::string ReferenceStore::path(const ReferenceKey& key) const {
  const int64_t numbers[] = {key.prefill, key.scored, key.step, key.chunk};
  uint64_t hash = hash_bytes(key.tokens.data(), key.tokens.size_bytes(), program_ ^ key.model);
  hash = hash_bytes(numbers, sizeof numbers, hash);
  return folder_ + "/" + fingerprint(hash_text(key.backend, hash)) + kEnding;
}

std::optional<std::vector<float>> ReferenceStore::find(const ReferenceKey& key, size_t values) const {
  if (folder_.empty()) return std::nullopt;
  std::error_code error;
  const std::string name = path(key);
  if (!fs::is_regular_file(name, error)) return std::nullopt;
  try {
    const std::string bytes = read_file(name);
    std::vector<float> states(values);
    if (bytes.size() != values * sizeof(float) + sizeof(uint64_t)) return std::nullopt;
    std::memcpy(states.data(), bytes.data(), values * sizeof(float));
    if (sealed(states) != bytes) return std::nullopt;
    fs::last_write_time(name, fs::file_time_type::clock::now(), error);  // the oldest go by use
    return states;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void ReferenceStore::keep(const ReferenceKey& key, std::span<const float> states) const {
  if (folder_.empty()) return;
  try {
    fs::create_directories(folder_);
    write_file(path(key), sealed(states));
    make_room();
  } catch (const Error&) {
  } catch (const fs::filesystem_error&) {
  }
}

void ReferenceStore::make_room() const {
  struct File {
    fs::file_time_type time;
    size_t bytes;
    fs::path path;
  };
  std::vector<File> files;
  size_t total = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() != kEnding) continue;
    files.push_back({entry.last_write_time(), static_cast<size_t>(entry.file_size()), entry.path()});
    total += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.time < b.time; });
  for (size_t i = 0; i < files.size() && total > most_bytes_; ++i) {
    fs::remove(files[i].path);
    total -= files[i].bytes;
  }
}

std::string default_reference_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != 0) return std::string(cache) + "/kvpareto/references";
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == 0 ? "" : std::string(home) + "/.cache/kvpareto/references";
}

}  // namespace kvpareto
