// What a session's memory consists of as the context grows, from the memory model: one panel a scheme, all on one
// scale.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "report/charts.h"
#include "report/format.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

constexpr size_t kMostPanels = 6;
constexpr double kHeight = 268;
constexpr double kBold = 1.12;  // of the width of text, about
constexpr Box kPlot{46, 44, kPanelWidth - 20, kHeight - 46};

struct Part {
  const char* style;
  const char* name;
  std::vector<double> MemoryCurve::*bytes;
};
// From the ground up: what the configuration cannot change lies below.
constexpr Part kParts[] = {{"p-weights", "weights", &MemoryCurve::weights_bytes},
                           {"p-kv", "KV cache", &MemoryCurve::kv_bytes},
                           {"p-scratch", "scratch", &MemoryCurve::scratch_bytes},
                           {"p-logits", "logits", &MemoryCurve::logits_bytes}};

bool drawable(const MemoryCurve& curve) {
  if (curve.contexts.size() < 2 || !std::is_sorted(curve.contexts.begin(), curve.contexts.end())) return false;
  return std::all_of(std::begin(kParts), std::end(kParts), [&](const Part& part) {
    const auto& bytes = curve.*part.bytes;
    return bytes.size() == curve.contexts.size() &&
           std::all_of(bytes.begin(), bytes.end(), [](double b) { return std::isfinite(b) && b >= 0; });
  });
}

// As long as a panel is wide.
std::string name_of(const MemoryCurve& curve) {
  return clipped(curve.weights == "w16" ? curve.kv : curve.weights + " " + curve.kv, 32);
}

double total(const MemoryCurve& curve, size_t at) {
  double sum = 0;
  for (const Part& part : kParts) sum += (curve.*part.bytes)[at];
  return sum;
}

// The curve's total at `context`, between the contexts that were computed.
double total_at(const MemoryCurve& curve, double context) {
  for (size_t c = 1; c < curve.contexts.size(); ++c) {
    const double from = curve.contexts[c - 1], to = curve.contexts[c];
    if (context > to || to <= from) continue;
    const double share = std::clamp((context - from) / (to - from), 0.0, 1.0);
    return total(curve, c - 1) + share * (total(curve, c) - total(curve, c - 1));
  }
  return total(curve, curve.contexts.size() - 1);
}

std::string tokens_in_words(double tokens) {
  const bool whole = std::fmod(tokens, 1024) == 0 && tokens > 0;
  return whole ? fmt::format("{:.0f}k", tokens / 1024) : fmt::format("{:.0f}", tokens);
}

class Panel {
 public:
  Panel(const Findings& findings, const MemoryCurve& curve, double highest, const MemoryCurve& reference)
      : findings_(findings),
        curve_(curve),
        reference_(reference),
        svg_(kPanelWidth, kHeight, "Memory against context for " + name_of(curve)),
        x_(Scale::linear(0, curve.contexts.back(), kPlot.left, kPlot.right)),
        y_(Scale::linear(0, highest, kPlot.bottom, kPlot.top)) {}

  std::string draw() {
    svg_.text(0, 14, shown_name(), is_recommended() ? "panel-name best" : "panel-name");
    // In the line of the unit: beside a long name there is no room.
    if (is_recommended()) svg_.text(32, 30, "recommended", "panel-note");
    if (&curve_ == &reference_) svg_.text(32, 30, "baseline", "panel-note");
    grid();
    areas();
    ceiling();
    studied_context();
    contexts();
    return svg_.str();
  }

 private:
  bool is_recommended() const {
    if (!findings_.recommended) return false;
    const Point& point = findings_.points[*findings_.recommended].point;
    return point.kv == curve_.kv && point.weights == curve_.weights;
  }

  // What of the name has room beside the total.
  std::string shown_name() const {
    const std::string name = name_of(curve_), beside = human_bytes(total(curve_, curve_.contexts.size() - 1));
    const double room = kPlot.right - text_width(beside, 12) - 14;
    size_t width = width_of(name);
    while (width > 1 && kBold * text_width(clipped(name, width), 14) > room) --width;
    return clipped(name, width);
  }

  void grid() {
    const ByteUnit unit = byte_unit(y_.high());
    for (const double tick : byte_ticks(0, y_.high(), 4)) {
      svg_.line(kPlot.left, y_(tick), kPlot.right, y_(tick), "grid");
      svg_.text(kPlot.left - 8, y_(tick) + 4, trimmed(tick / unit.size, 5), "axis", Anchor::kEnd);
    }
    svg_.text(0, 30, unit.name, "axis-unit");
  }

  void areas() {
    std::vector<double> floor(curve_.contexts.size(), 0);
    for (const Part& part : kParts) {
      std::string upper, lower;
      for (size_t c = 0; c < floor.size(); ++c) {
        const double place = x_(curve_.contexts[c]);
        lower = fmt::format("L{} {}", px(place), px(y_(floor[c]))) + lower;
        floor[c] += (curve_.*part.bytes)[c];
        upper += fmt::format("{}{} {}", c == 0 ? "M" : "L", px(place), px(y_(floor[c])));
      }
      svg_.open("area", {},
                fmt::format("{}: {}\nat {} tokens\t{}", name_of(curve_), part.name, curve_.contexts.back(),
                            human_bytes((curve_.*part.bytes).back())));
      svg_.path(upper + lower + "Z", part.style);
      svg_.close();
    }
  }

  // The baseline's total as a line in the other panels: what is between it and the areas is saved.
  void ceiling() {
    const size_t last = curve_.contexts.size() - 1;
    const double end = total(curve_, last);
    if (&curve_ != &reference_ && reference_.contexts == curve_.contexts) {
      std::string d;
      for (size_t c = 0; c <= last; ++c) {
        d += fmt::format("{}{} {}", c == 0 ? "M" : "L", px(x_(reference_.contexts[c])), px(y_(total(reference_, c))));
      }
      svg_.path(d, "ceiling");
      svg_.text(kPlot.right, 30, percent_change(end, total(reference_, last)), "value best", Anchor::kEnd);
    }
    svg_.text(kPlot.right, 14, human_bytes(end), "value", Anchor::kEnd);
  }

  void studied_context() {
    const double studied = findings_.points.empty() ? 0 : findings_.points.front().regime.context;
    if (studied <= 0 || studied > curve_.contexts.back()) return;
    const double height = total_at(curve_, studied);
    svg_.line(x_(studied), kPlot.bottom, x_(studied), y_(height), "studied");
    svg_.circle(x_(studied), y_(height), 2.5, "studied-dot");
  }

  void contexts() {
    svg_.line(kPlot.left, kPlot.bottom, kPlot.right, kPlot.bottom, "tick");
    const double step = round_context(curve_.contexts.back() / 4.0);
    for (double tick = 0; tick <= curve_.contexts.back(); tick += step) {
      svg_.line(x_(tick), kPlot.bottom, x_(tick), kPlot.bottom + 4, "tick");
      svg_.text(x_(tick), kPlot.bottom + 17, tokens_in_words(tick), "axis", Anchor::kMiddle);
    }
    svg_.text(kPlot.right, kPlot.bottom + 34, "context, tokens", "axis-unit", Anchor::kEnd);
  }

  // Contexts are powers of two, and so are their ticks.
  static double round_context(double tokens) { return std::exp2(std::ceil(std::log2(std::max(tokens, 1.0)))); }

  const Findings& findings_;
  const MemoryCurve& curve_;
  const MemoryCurve& reference_;
  Svg svg_;
  Scale x_, y_;
};

}  // namespace

Drawing draw_memory_parts(const Findings& findings) {
  std::vector<MemoryCurve> curves;
  double highest = 0;
  for (const MemoryCurve& curve : findings.curves) {
    if (!drawable(curve) || curves.size() == kMostPanels) continue;
    curves.push_back(curve);
    for (size_t c = 0; c < curve.contexts.size(); ++c) highest = std::max(highest, total(curve, c));
  }
  if (curves.empty() || highest <= 0) return {};
  std::vector<std::string> drawings;
  for (const MemoryCurve& curve : curves) {
    drawings.push_back(Panel(findings, curve, highest * 1.02, curves.front()).draw());
  }
  Drawing drawing;
  drawing.lead = fmt::format(
      "The weights stay as they are; the KV cache grows with every token. The figure at the top right of a panel is "
      "the total at {} tokens; "
      "the dashed line is the total of {}.",
      curves.front().contexts.back(), escape_html(name_of(curves.front())));
  drawing.figure = "<p class=\"legend\">";
  for (const Part& part : kParts) drawing.figure += legend_entry(part.style, part.name);
  drawing.figure += "</p>" + panels(drawings);
  drawing.note =
      "Computed from the model's metadata by the same layout the cache allocates by. The thin mark is "
      "the context of this study.";
  return drawing;
}

}  // namespace kvpareto
