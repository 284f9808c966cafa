// The prefill chunk against peak memory, prefill speed and divergence, for schemes measured with several chunks.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "report/charts.h"
#include "report/format.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

constexpr size_t kMostLines = 6;
constexpr double kHeight = 262;
constexpr Box kPlot{50, 44, kPanelWidth - 84, kHeight - 44};

struct Line {
  std::string name;
  std::string style;
  std::map<int, size_t> points;  // by chunk
};

// Baseline and recommended scheme first, then the others on the front by how many chunks they have.
std::vector<Line> make_lines(const Findings& findings) {
  std::map<std::pair<std::string, std::string>, std::map<int, size_t>> schemes;
  std::set<std::pair<std::string, std::string>> front;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const Point& point = findings.points[i].point;
    if (!findings.complete(i)) continue;
    schemes[{point.weights, point.kv}][point.chunk] = i;
    if (findings.on_front[i]) front.insert({point.weights, point.kv});
  }
  std::vector<Line> lines;
  const auto add = [&](const std::pair<std::string, std::string>& scheme, const char* style) {
    const auto found = schemes.find(scheme);
    if (found == schemes.end() || found->second.size() < 2 || lines.size() == kMostLines) return;
    const std::string weights = scheme.first == "w16" ? "" : scheme.first + " ";
    lines.push_back({weights + scheme.second, style, found->second});
    schemes.erase(found);
  };
  const auto scheme_of = [&](size_t i) {
    return std::pair(findings.points[i].point.weights, findings.points[i].point.kv);
  };
  if (findings.recommended) add(scheme_of(*findings.recommended), "best");
  if (findings.baseline) add(scheme_of(*findings.baseline), "base");
  for (const auto& scheme : front) add(scheme, "other");
  return lines;
}

struct Axis {
  const char* figure;
  const char* name;
  bool log;
  bool from_zero;
};
constexpr Axis kAxes[] = {{"peak_bytes", "Peak memory", false, false},
                          {"prefill_ts", "Prefill speed", false, true},
                          {"kld_mean", "Divergence", true, false}};

// Moves label heights apart to at least `gap` pixels, keeping their order, inside [top, bottom] where possible.
void spread(std::vector<std::pair<double, size_t>>& heights, double gap, double bottom) {
  std::sort(heights.begin(), heights.end());
  for (size_t i = 1; i < heights.size(); ++i) {
    heights[i].first = std::max(heights[i].first, heights[i - 1].first + gap);
  }
  double limit = bottom;
  for (size_t i = heights.size(); i-- > 0; limit = heights[i].first - gap) {
    heights[i].first = std::min(heights[i].first, limit);
  }
}

class Panel {
 public:
  Panel(const Findings& findings, const std::vector<Line>& lines, const Axis& axis)
      : findings_(findings),
        lines_(lines),
        axis_(axis),
        svg_(kPanelWidth, kHeight, fmt::format("{} against prefill chunk", axis.name)),
        x_(Scale::linear(0, 1, 0, 1)),
        y_(x_) {}

  // Empty if fewer than two values of the figure were measured.
  std::string draw() {
    if (!set_scales()) return {};
    axes();
    // The important lines lie on top.
    for (size_t i = lines_.size(); i-- > 0;) line(lines_[i]);
    names();
    return svg_.str();
  }

 private:
  double value(size_t i) const { return findings_.points[i].value(axis_.figure); }
  bool shown(size_t i) const { return std::isfinite(value(i)) && (!axis_.log || value(i) >= kLeastShown); }

  bool set_scales() {
    double low = 1e300, high = -1e300;
    for (const Line& line : lines_) {
      for (const auto& [chunk, i] : line.points) {
        chunks_.insert(chunk);
        if (!shown(i)) continue;
        low = std::min(low, value(i));
        high = std::max(high, value(i));
        ++count_;
      }
    }
    if (count_ < 2 || chunks_.size() < 2) return false;
    x_ = Scale::logarithmic(*chunks_.begin(), *chunks_.rbegin(), kPlot.left + 8, kPlot.right - 8);
    if (axis_.log) {
      y_ = Scale::logarithmic(round_down(low * 0.8), round_up(high * 1.2), kPlot.bottom, kPlot.top);
    } else {
      const double room = std::max((high - low) * 0.12, std::abs(high) * 1e-3);
      y_ = Scale::linear(axis_.from_zero ? 0 : low - room, high + room, kPlot.bottom, kPlot.top);
    }
    return true;
  }

  void axes() {
    const bool bytes = std::string_view(axis_.figure) == "peak_bytes";
    const ByteUnit unit = bytes ? byte_unit(y_.high()) : ByteUnit{1, ""};
    const Figure* figure = find_figure(axis_.figure);
    std::vector<double> ticks = bytes       ? byte_ticks(y_.low(), y_.high(), 5)
                                : axis_.log ? decade_ticks(y_.low(), y_.high(), false)
                                            : round_ticks(y_.low(), y_.high(), 5);
    svg_.text(0, 14, axis_.name, "panel-name");
    svg_.text(0, 30, bytes ? unit.name : figure->unit, "axis-unit");
    for (const double tick : ticks) {
      svg_.line(kPlot.left, y_(tick), kPlot.right, y_(tick), "grid");
      svg_.text(kPlot.left - 8, y_(tick) + 4, trimmed(tick / unit.size, axis_.log ? 1 : 5), "axis", Anchor::kEnd);
    }
    svg_.line(kPlot.left, kPlot.bottom, kPlot.right, kPlot.bottom, "tick");
    double last = -100;
    for (const int chunk : chunks_) {
      svg_.line(x_(chunk), kPlot.bottom, x_(chunk), kPlot.bottom + 4, "tick");
      if (x_(chunk) - last < 30) continue;
      last = x_(chunk);
      svg_.text(last, kPlot.bottom + 17, std::to_string(chunk), "axis", Anchor::kMiddle);
    }
    svg_.text(kPlot.right, kPlot.bottom + 34, "chunk, tokens", "axis-unit", Anchor::kEnd);
  }

  void line(const Line& line) {
    std::string d;
    for (const auto& [chunk, i] : line.points) {
      if (shown(i)) d += fmt::format("{}{} {}", d.empty() ? "M" : "L", px(x_(chunk)), px(y_(value(i))));
    }
    if (d.empty()) return;
    svg_.path(d, "trend " + line.style);
    for (const auto& [chunk, i] : line.points) {
      if (!shown(i)) continue;
      svg_.open("mark", fmt::format("data-p=\"{}\"", i), tooltip(findings_, i));
      svg_.circle(x_(chunk), y_(value(i)), 3.5, "trend-dot " + line.style);
      svg_.close();
    }
  }

  void names() {
    std::vector<std::pair<double, size_t>> heights;
    for (size_t l = 0; l < lines_.size(); ++l) {
      for (const auto& [chunk, i] : lines_[l].points) {
        if (!shown(i)) continue;
        if (!heights.empty() && heights.back().second == l) heights.pop_back();
        heights.push_back({y_(value(i)), l});
      }
    }
    spread(heights, 14, kPlot.bottom);
    for (const auto& [height, l] : heights) {
      svg_.text(kPlot.right + 4, height + 4, lines_[l].name, "trend-name " + lines_[l].style);
    }
  }

  const Findings& findings_;
  const std::vector<Line>& lines_;
  const Axis& axis_;
  Svg svg_;
  Scale x_, y_;
  std::set<int> chunks_;
  int count_ = 0;
};

}  // namespace

Drawing draw_chunk(const Findings& findings) {
  const std::vector<Line> lines = make_lines(findings);
  std::vector<std::string> drawings;
  for (const Axis& axis : kAxes) {
    const std::string drawing = lines.empty() ? "" : Panel(findings, lines, axis).draw();
    if (!drawing.empty()) drawings.push_back(drawing);
  }
  if (drawings.empty()) return {};
  Drawing drawing;
  drawing.lead = "What a larger chunk costs in memory and brings in speed.";
  if (findings.points.front().regime.order == "pack-then-attend") {
    drawing.lead +=
        " Every token is read back from the packed cache whatever the chunk, so the divergence should stay the same.";
  }
  drawing.figure = panels(drawings);
  drawing.note =
      "Schemes that were measured with several chunks. The memory axis does not begin at zero; the divergence axis, "
      "being logarithmic, has no place for one of zero.";
  return drawing;
}

}  // namespace kvpareto
