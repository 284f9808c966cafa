#include "cli/profile_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/output.h"

namespace kvpareto {

void add_parts(std::vector<ProfilePart>& sum, const std::vector<ProfilePart>& more) {
  for (const ProfilePart& part : more) {
    const auto same = std::find_if(sum.begin(), sum.end(), [&](const ProfilePart& p) { return p.name == part.name; });
    if (same == sum.end()) {
      sum.push_back(part);
      continue;
    }
    same->calls += part.calls;
    same->seconds += part.seconds;
    same->operations += part.operations;
    same->bytes += part.bytes;
  }
}

std::string profile_table(std::vector<ProfilePart> parts, double seconds, const std::optional<MachineLimits>& limits) {
  ProfilePart rest = {.name = "between"};
  rest.seconds = seconds;
  for (const ProfilePart& part : parts) rest.seconds -= part.seconds;
  parts.push_back(rest);
  std::stable_sort(parts.begin(), parts.end(),
                   [](const ProfilePart& a, const ProfilePart& b) { return a.seconds > b.seconds; });
  std::vector<std::vector<std::string>> table = {{"part", "time", "calls", "us a call", "GFLOP/s", "GB/s", "of limit"}};
  for (const ProfilePart& part : parts) {
    const double operations = part.operations / part.seconds, bytes = part.bytes / part.seconds;
    const bool counted = part.calls > 0 && part.seconds > 0;
    std::string share;
    if (counted && limits) {
      const double arithmetic = operations / limits->bf16_operations, memory = bytes / limits->read_bytes;
      share = fmt::format("{:.0f} % of {}", 100 * std::max(arithmetic, memory), arithmetic > memory ? "peak" : "read");
    }
    table.push_back({part.name, fmt::format("{:.1f} %", 100 * part.seconds / seconds),
                     part.calls > 0 ? fmt::format("{}", part.calls) : "",
                     part.calls > 0 ? fmt::format("{:.1f}", 1e6 * part.seconds / static_cast<double>(part.calls)) : "",
                     counted && operations > 0 ? fmt::format("{:.1f}", 1e-9 * operations) : "",
                     counted && bytes > 0 ? fmt::format("{:.1f}", 1e-9 * bytes) : "", share});
  }
  std::string text = markdown(table);
  if (limits) {
    text += fmt::format("\nLimits measured now: read {:.1f} GB/s, peak {:.0f} GFLOP/s (bf16 products).\n",
                        1e-9 * limits->read_bytes, 1e-9 * limits->bf16_operations);
  }
  return text;
}

}  // namespace kvpareto
