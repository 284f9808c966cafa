#include "report/charts.h"

#include <fmt/format.h>

#include "report/svg.h"

namespace kvpareto {

std::span<const Chart> charts() {
  static constexpr Chart kCharts[] = {
      {"frontier", "Memory against divergence", draw_frontier},
      {"bits", "Bits of keys against bits of values", draw_heat_map},
      {"layers", "Bits by layer, and what each layer bears", draw_layers},
      {"weights", "What the weights of each layer bear", draw_weight_layers},
      {"memory", "Where the memory goes as the context grows", draw_memory_parts},
      {"chunk", "What the prefill chunk changes", draw_chunk},
      {"needles", "Tasks answered through the packed cache", draw_needle},
  };
  return kCharts;
}

std::string standing_out(const Sensitivity& table) {
  const std::string who = who_stands_out(table);
  if (who.empty()) return fmt::format(" No layer costs more than {:g} times the median.", kStandsOut);
  return fmt::format(" <strong>More than {:g} times the median:</strong> {}.", kStandsOut, escape_html(who));
}

std::string panels(std::span<const std::string> drawings) {
  std::string markup = "<div class=\"panels\">";
  for (const std::string& drawing : drawings) markup += drawing;
  return markup + "</div>";
}

std::string by_width(const Findings& findings, std::string (*draw)(const Findings& findings, Width width)) {
  return fmt::format("<div class=\"wide\">{}</div><div class=\"medium\">{}</div><div class=\"narrow\">{}</div>",
                     draw(findings, Width::kWide), draw(findings, Width::kMedium), draw(findings, Width::kNarrow));
}

std::string legend_entry(const char* style, const std::string& word) {
  return fmt::format("<span class=\"key\"><i class=\"{}\"></i>{}</span>", style, escape_html(word));
}

}  // namespace kvpareto
