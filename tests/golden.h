#pragma once
// Reads the files of testdata/golden; tools/make_golden_logits.py describes them.

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "tensor/float_types.h"

namespace kvpareto {

struct Golden {
  nlohmann::json header;
  std::string bytes;  // the arrays

  explicit Golden(const std::string& name) {
    const std::string all = read_file(std::string(KVPARETO_TESTDATA) + "/golden/" + name + ".logits");
    const size_t line = all.find('\n');
    header = nlohmann::json::parse(all.substr(0, line));
    bytes = all.substr(line + 1);
  }

  template <typename T>
  std::vector<T> array(const std::string& name) const {
    for (const auto& entry : header["arrays"]) {
      if (entry["name"] != name) continue;
      std::vector<T> values(entry["bytes"].get<size_t>() / sizeof(T));
      std::memcpy(values.data(), bytes.data() + entry["offset"].get<size_t>(), values.size() * sizeof(T));
      return values;
    }
    throw std::runtime_error("no golden array " + name);
  }
};

// Where fetched models lie: $KVPARETO_MODELS, or the cache of tools/fetch_model.py.
inline std::string models_folder() {
  if (const char* folder = std::getenv("KVPARETO_MODELS")) return folder;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.cache/kvpareto/models";
}

}  // namespace kvpareto
