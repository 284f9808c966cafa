#include <algorithm>
#include <fstream>

#include "backend/backend.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dense.h"
#include "backend/reference/reference_backend.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace kvpareto {

std::vector<std::string> backend_names() {
  std::vector<std::string> names = {"reference"};
  for (const std::string& set : cpu_instruction_sets()) names.push_back(set);
  return names;
}

std::unique_ptr<Backend> make_backend(const std::string& name) {
  const std::vector<std::string> names = backend_names();
  const std::string& chosen = name.empty() || name == "auto" ? names.back() : name;
  if (chosen == "reference") return make_reference_backend();
  if (std::find(names.begin(), names.end(), chosen) == names.end()) {
    fail_usage("backend '{}' is unknown here; did you mean {}? This machine runs: auto {}", chosen,
               nearest(chosen, names), join(names, " "));
  }
  return make_cpu_backend(chosen);
}

void confine_libraries(const std::string& name) { confine_dense(name); }

std::string device_text(const Backend& backend) {
  std::string processor = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    processor = line.substr(std::min(line.size(), line.find(':') + 2));
    break;
  }
  return fmt::format("{}, {}, {} threads", processor, backend.name(), thread_count());
}

}  // namespace kvpareto
