#pragma once
// One joint configuration. Equal text is equal point: "w16_k8v4g64_chunk256".

#include <string>
#include <string_view>

namespace kvpareto {

struct Point {
  std::string weights = "w16";  // precision of the linear layers
  std::string kv = "k16v16";    // canonical text of a KV scheme (kv/scheme.h); the study does not look inside
  int chunk = 256;              // tokens of one prefill step

  bool operator==(const Point&) const = default;
};

std::string to_text(const Point& point);
// Throws Error (kUsage) on text that to_text cannot have made.
Point parse_point(std::string_view text);

}  // namespace kvpareto
