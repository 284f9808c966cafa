#pragma once
// Whole files: read at once; written to a temporary name and renamed, so that a reader never sees half of one.

#include <string>
#include <string_view>

namespace kvpareto {

// Throws Error (kFailure) naming the path and the system's reason.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view contents);
// The same error as far as it can be foreseen, before the work whose result goes there.
void require_writable(const std::string& path);

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
