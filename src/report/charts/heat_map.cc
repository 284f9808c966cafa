// Divergence of every pair of key bits and value bits, one map a group size. Cells above the limit are hatched: the
// cliff of a model whose keys do not bear few bits is a wall in the picture.

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

constexpr double kLeft = 36, kTop = 66, kSecondLine = 18, kCellHeight = 40;
constexpr int kSoundSteps = 6, kBrokenSteps = 4;  // colours of style.cc: h0 to h5, x0 to x3

struct Map {
  std::string variant;                           // "g64"
  std::map<std::pair<int, int>, size_t> points;  // by bits of keys and values
};

// The maps at the usual chunk, and 16-bit baselines (which have no groups) in all of them.
std::vector<Map> make_maps(const Findings& findings) {
  std::map<std::string, Map> maps;
  std::map<std::pair<int, int>, size_t> plain;
  const std::string weights = findings.baseline ? findings.points[*findings.baseline].point.weights : "w16";
  for (size_t i = 0; i < findings.points.size(); ++i) {
    const Point& point = findings.points[i].point;
    const auto bits = scheme_bits(point.kv);
    if (!bits || point.chunk != findings.chunk || point.weights != weights) continue;
    if (bits->variant.empty()) {
      plain[{bits->k, bits->v}] = i;
    } else {
      maps[bits->variant].points[{bits->k, bits->v}] = i;
    }
  }
  if (maps.empty()) maps[""].points = plain;
  std::vector<Map> list;
  for (auto& [variant, map] : maps) {
    map.variant = variant;
    map.points.insert(plain.begin(), plain.end());
    if (map.points.size() >= 3) list.push_back(map);
  }
  // "g32" before "g128".
  std::sort(list.begin(), list.end(), [](const Map& a, const Map& b) {
    return std::pair(a.variant.size(), a.variant) < std::pair(b.variant.size(), b.variant);
  });
  return list;
}

struct Colours {
  double low, limit, high;  // nats/token
  std::string step(double loss) const {
    if (!(loss > 0)) return "h0";
    if (loss <= limit) {
      const double share = std::log(std::max(loss, low) / low) / std::log(limit / low);
      return fmt::format("h{}", std::clamp(static_cast<int>(share * kSoundSteps), 0, kSoundSteps - 1));
    }
    const double share = std::log(loss / limit) / std::log(high / limit);
    return fmt::format("x{}", std::clamp(static_cast<int>(share * kBrokenSteps), 0, kBrokenSteps - 1));
  }
};

Colours colours_of(const Findings& findings) {
  const double limit = findings.max_loss;
  Colours colours{limit / 1000, limit, limit * 30};
  for (size_t i = 0; i < findings.points.size(); ++i) {
    if (findings.complete(i)) colours.high = std::max(colours.high, findings.loss(i));
  }
  return colours;
}

// At most seven characters, so that it fits a cell.
std::string cell_number(double loss) {
  if (!(loss > 0 && loss < 1e-4)) return significant(loss, 2);
  std::string text = fmt::format("{:.0e}", loss);
  const size_t zero = text.find("e-0");
  return zero == std::string::npos ? text : text.erase(zero + 2, 1);
}

void cell(Svg& svg, const Findings& findings, const Colours& colours, const Box& box, std::optional<size_t> i,
          const std::string& hatch) {
  if (!i) {
    svg.rect(box, "cell none");
    return;
  }
  const double middle = (box.left + box.right) / 2, line = (box.top + box.bottom) / 2 + 4.5;
  svg.open("mark", fmt::format("data-p=\"{}\"", *i), tooltip(findings, *i));
  if (!findings.complete(*i)) {
    svg.rect(box, "cell none");
    svg.text(middle, line, "failed", "cell-text absent", Anchor::kMiddle);
    svg.close();
    return;
  }
  const std::string step = colours.step(findings.loss(*i));
  svg.rect(box, "cell " + step);
  if (findings.broken(*i)) svg.rect(box, "hatched", fmt::format("fill=\"url(#{})\"", hatch));
  if (i == findings.recommended) {
    svg.rect({box.left + 1.5, box.top + 1.5, box.right - 1.5, box.bottom - 1.5}, "cell-best");
  }
  svg.text(middle, line, cell_number(findings.loss(*i)), "cell-text t" + step, Anchor::kMiddle);
  if (findings.on_front[*i]) svg.circle(box.right - 7, box.top + 7, 2.5, "cell-front t" + step);
  svg.close();
}

// A variant in words where it is one thing alone; else as it is, on two lines if it is wider than the panel.
std::pair<std::string, std::string> title_of(const std::string& variant) {
  if (variant.empty()) return {"no groups", ""};
  if (variant == "gh") return {"one group a head", ""};
  if (variant == "p") return {"one scale a layer", ""};
  const bool number = variant.size() > 1 && variant.find_first_not_of("0123456789", 1) == std::string::npos;
  if (number && variant.front() == 'g') return {"groups of " + variant.substr(1), ""};
  if (number && variant.front() == 't') return {fmt::format("a channel over {} tokens", variant.substr(1)), ""};
  const size_t comma = variant.find(", ");
  if (text_width(variant, 15) <= kPanelWidth || comma == std::string::npos) return {variant, ""};
  return {variant.substr(0, comma), variant.substr(comma + 2)};
}

std::string draw_map(const Findings& findings, const Map& map, const Colours& colours, size_t number,
                     double first_row) {
  std::set<int, std::greater<>> keys, values;
  for (const auto& [bits, i] : map.points) {
    keys.insert(bits.first);
    values.insert(bits.second);
  }
  const double cell_width = std::min(72.0, (kPanelWidth - kLeft) / static_cast<double>(values.size()));
  const double height = first_row + kCellHeight * static_cast<double>(keys.size()) + 4;
  Svg svg(kPanelWidth, height, "Divergence by bits of keys and values, " + map.variant);
  const std::string hatch = fmt::format("hatch{}", number);
  svg.raw(fmt::format(
      "<defs><pattern id=\"{}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
      "patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern></defs>",
      hatch));
  const auto [name, more] = title_of(map.variant);
  svg.text(0, 14, name, "panel-name");
  svg.text(0, 14 + kSecondLine, more, "panel-note");
  svg.text(kLeft, first_row - 24, "bits of values", "axis-unit");
  svg.text(kLeft - 10, first_row - 24, "keys", "axis-unit", Anchor::kEnd);
  double top = first_row;
  for (const int k : keys) {
    svg.text(kLeft - 10, top + kCellHeight / 2 + 4.5, std::to_string(k), "axis strong", Anchor::kEnd);
    double left = kLeft;
    for (const int v : values) {
      if (top == first_row)
        svg.text(left + cell_width / 2, first_row - 7, std::to_string(v), "axis strong", Anchor::kMiddle);
      const auto found = map.points.find({k, v});
      const Box box{left, top, left + cell_width - 2, top + kCellHeight - 2};
      cell(svg, findings, colours, box, found == map.points.end() ? std::nullopt : std::optional(found->second), hatch);
      left += cell_width;
    }
    top += kCellHeight;
  }
  return svg.str();
}

// The ramp of colours with the values at which they change.
std::string ramp(const Colours& colours) {
  Svg svg(kPanelWidth, 40, "Colours of the map");
  const double width = 26;
  double left = 0;
  for (int s = 0; s < kSoundSteps + kBrokenSteps; ++s, left += width) {
    const std::string step = s < kSoundSteps ? fmt::format("h{}", s) : fmt::format("x{}", s - kSoundSteps);
    svg.rect({left, 0, left + width, 12}, "cell " + step);
    if (s == kSoundSteps) svg.line(left, -2, left, 18, "limit-mark");
  }
  svg.text(0, 30, "≤ " + significant(colours.low, 1), "axis");
  svg.text(kSoundSteps * width, 30, trimmed(colours.limit, 2), "axis strong", Anchor::kMiddle);
  svg.text(left, 30, significant(colours.high, 2), "axis", Anchor::kEnd);
  svg.text(left + 8, 11, "nats/token", "axis-unit");
  return svg.str();
}

}  // namespace

Drawing draw_heat_map(const Findings& findings) {
  const std::vector<Map> maps = make_maps(findings);
  if (maps.empty()) return {};
  const Colours colours = colours_of(findings);
  Drawing drawing;
  drawing.lead = "Divergence in nats/token for every pair: keys down, values across.";
  const std::string step = cliff(findings);
  if (!step.empty()) drawing.lead += " <strong>A cliff:</strong> " + escape_html(step);
  std::vector<std::string> drawings;
  const bool two_lines =
      std::any_of(maps.begin(), maps.end(), [](const Map& map) { return !title_of(map.variant).second.empty(); });
  for (const Map& map : maps) {
    drawings.push_back(draw_map(findings, map, colours, drawings.size(), kTop + (two_lines ? kSecondLine : 0)));
  }
  drawing.figure = panels(drawings) + "<div class=\"ramp\">" + ramp(colours) + "</div>";
  drawing.note =
      fmt::format("Chunk {}. Hatched: above the limit of {} nats/token. A small dot marks cells on the front",
                  findings.chunk, trimmed(findings.max_loss, 2));
  drawing.note += findings.recommended && findings.points[*findings.recommended].point.chunk == findings.chunk
                      ? ", the frame the recommended one."
                      : ".";
  return drawing;
}

}  // namespace kvpareto
