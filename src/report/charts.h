#pragma once
// The figures of the page, top to bottom. To add one: a file in charts/ with one function, and a line in charts.cc. The
// page test checks every one for well-formed, self-contained markup on ordinary and on hostile studies.

#include <span>
#include <string>

#include "report/findings.h"

namespace kvpareto {

// Markup of one figure. Nothing is shown where `figure` is empty: the study has not what the chart needs.
struct Drawing {
  std::string lead;    // one or two sentences of text above it: what there is to see (markup, already escaped)
  std::string figure;  // drawings of at most kPanelWidth each, or one a page width: see panels() and by_width()
  std::string note;    // small print below (markup, already escaped)
};

struct Chart {
  const char* name;  // anchor on the page
  const char* title;
  Drawing (*draw)(const Findings& findings);
};
std::span<const Chart> charts();

Drawing draw_frontier(const Findings& findings);
Drawing draw_heat_map(const Findings& findings);
Drawing draw_layers(const Findings& findings);
Drawing draw_weight_layers(const Findings& findings);
Drawing draw_memory_parts(const Findings& findings);
Drawing draw_chunk(const Findings& findings);
Drawing draw_needle(const Findings& findings);

// Below this a divergence is rounding noise of the arithmetic; logarithmic axes treat it as zero. [nats/token]
constexpr double kLeastShown = 1e-5;

// Who stands out in a table of single layers, or that nobody does: a sentence of markup, a space before it.
std::string standing_out(const Sensitivity& table);

// Small multiples: drawings of this width, three abreast on a desktop, one on a telephone, never scaled.
constexpr double kPanelWidth = 336;
std::string panels(std::span<const std::string> drawings);

// One drawing for each of three page widths, of which CSS shows one: text keeps its size everywhere.
enum class Width { kNarrow, kMedium, kWide };
std::string by_width(const Findings& findings, std::string (*draw)(const Findings& findings, Width width));

// An entry of a legend: a small square or dot in the colour of a CSS class, and a word.
std::string legend_entry(const char* style, const std::string& word);

}  // namespace kvpareto
