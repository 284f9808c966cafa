#pragma once
// Files: read at once or in pieces; written to a temporary name and renamed, so that a reader never sees half of one.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kvpareto {

// Throws Error (kFailure) naming the path and the system's reason.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view contents);
// The same error as far as it can be foreseen, before the work whose result goes there.
void require_writable(const std::string& path);

// A file held open for pieces that are read as they are needed; no more of it is in the process's memory.
class FileReader {
 public:
  explicit FileReader(std::string path);
  ~FileReader();
  FileReader(FileReader&& other) noexcept;
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  FileReader& operator=(FileReader&&) = delete;

  // Fills `out` with what stands at `offset`. Throws Error (kFailure) also if the file ends before.
  void read(uint64_t offset, std::span<uint8_t> out) const;

 private:
  std::string path_;
  int descriptor_;
};

// A file that is written piece by piece. Unless finish() is reached the temporary file is removed and `path` stays as
// it was. All throw as write_file() does.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::string_view piece);
  void finish();

 private:
  [[noreturn]] void give_up() const;
  std::string path_, temporary_;
  int descriptor_;
};

}  // namespace kvpareto
