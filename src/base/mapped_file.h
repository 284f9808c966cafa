#pragma once
// A file's bytes as memory, read-only, brought in by the system as they are touched.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace kvpareto {

class MappedFile {
 public:
  // Throws Error (kFailure) if `path` is missing, a directory, empty or unreadable.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Lets the system drop the pages of [offset, offset + size); they are read again if touched again. Keeps the
  // resident set near what is in use while a large model is converted.
  void release(size_t offset, size_t size) const;

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace kvpareto
