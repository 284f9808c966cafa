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

}  // namespace kvpareto
