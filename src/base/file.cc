#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"

namespace kvpareto {

std::string read_file(const std::string& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void require_writable(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) fail("{}: cannot write: it is a folder", path);
  const size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (::access(folder.c_str(), W_OK) != 0) fail("{}: cannot write: {}", path, std::strerror(errno));
}

FileReader::FileReader(std::string path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail("{}: cannot open: {}", path_, std::strerror(errno));
  ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_RANDOM);
}

FileReader::FileReader(FileReader&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileReader::~FileReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileReader::read(uint64_t offset, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("{}: cannot read: {}", path_, std::strerror(errno));
    if (n == 0) fail("{}: wanted {} bytes at {}, where the file ends now", path_, out.size(), offset);
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

FileWriter::FileWriter(const std::string& path) : path_(path), temporary_(fmt::format("{}.{}.tmp", path, ::getpid())) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("{}: cannot write: {}", path, std::strerror(errno));
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileWriter::give_up() const { fail("{}: cannot write: {}", path_, std::strerror(errno)); }

void FileWriter::write(std::string_view piece) {
  const size_t size = piece.size();
  while (!piece.empty()) {
    const ssize_t n = ::write(descriptor_, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("{}: cannot write {} bytes: {}", path_, size, std::strerror(errno));
    piece.remove_prefix(static_cast<size_t>(n));
  }
}

void FileWriter::finish() {
  if (::fsync(descriptor_) != 0) give_up();
  if (::close(std::exchange(descriptor_, -1)) != 0) give_up();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) give_up();
  temporary_.clear();
}

void write_file(const std::string& path, std::string_view contents) {
  FileWriter file(path);
  file.write(contents);
  file.finish();
}

}  // namespace kvpareto
