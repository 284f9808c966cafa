// Peak memory against divergence: every point, the front as a staircase, baseline and knee by name, and the zone where
// a configuration is broken.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/format.h"
#include "report/labels.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

class Frontier {
 public:
  Frontier(const Findings& findings, Width width)
      : findings_(findings),
        narrow_(width == Width::kNarrow),
        width_(width == Width::kWide     ? 1056
               : width == Width::kMedium ? 704
                                         : 344),
        height_(width == Width::kWide     ? 580
                : width == Width::kMedium ? 520
                                          : 470),
        plot_{narrow_ ? 46.0 : 62.0, 64, width_ - 12, height_ - 84},
        strip_{plot_.left, plot_.bottom + 8, plot_.right, plot_.bottom + 32},
        svg_(width_, height_, "Peak memory against divergence of every configuration"),
        x_(Scale::linear(0, 1, 0, 1)),
        y_(x_) {
    set_scales();
  }

  std::string draw() {
    zone();
    axes();
    zone_words();
    staircase();
    for (int pass = 0; pass < 3; ++pass) points(pass);
    labels();
    return svg_.str();
  }

 private:
  bool in_strip(size_t i) const { return !(findings_.loss(i) >= kLeastShown); }
  double x(size_t i) const { return x_(findings_.cost(i)); }
  double y(double loss) const {
    return loss >= kLeastShown ? std::clamp(y_(loss), plot_.top, plot_.bottom) : (strip_.top + strip_.bottom) / 2;
  }

  void set_scales() {
    double low = findings_.max_loss / 10, high = findings_.max_loss * 3;
    double cheapest = 1e300, dearest = 0;
    for (size_t i = 0; i < findings_.points.size(); ++i) {
      if (!findings_.complete(i)) continue;
      cheapest = std::min(cheapest, findings_.cost(i));
      dearest = std::max(dearest, findings_.cost(i));
      if (in_strip(i)) continue;
      const auto interval = error_bar(findings_.points[i].values.at("kld_mean"));
      low = std::min(low, findings_.loss(i));
      high = std::max(high, interval ? interval->high : findings_.loss(i));
    }
    const double room = std::max((dearest - cheapest) * 0.05, dearest * 0.002);
    x_ = Scale::linear(cheapest - room, dearest + room, plot_.left, plot_.right);
    // Free space at the top for the words of the broken zone.
    y_ = Scale::logarithmic(round_down(std::max(low * 0.9, kLeastShown)), high * (narrow_ ? 7 : 4), plot_.bottom,
                            plot_.top);
  }

  void zone() {
    const double limit = y(findings_.max_loss);
    svg_.rect({plot_.left, plot_.top, plot_.right, limit}, "zone");
    svg_.line(plot_.left, limit, plot_.right, limit, "limit");
  }

  void zone_words() {
    const double size = 15;
    double line = plot_.top + 20;
    svg_.text(plot_.right - 10, line, fmt::format("Broken: more than {} nats/token", trimmed(findings_.max_loss, 2)),
              "zone-name", Anchor::kEnd);
    const size_t broken = findings_.count_broken();
    svg_.text(plot_.right - 10, line += size + 2,
              fmt::format("{} of {} configurations", broken, findings_.count_complete()), "zone-text", Anchor::kEnd);
  }

  void axes() {
    for (const double tick : decade_ticks(y_.low(), y_.high(), true)) {
      svg_.line(plot_.left - 3, y_(tick), plot_.left, y_(tick), "tick minor");
    }
    for (const double tick : decade_ticks(y_.low(), y_.high(), false)) {
      svg_.line(plot_.left, y_(tick), plot_.right, y_(tick), "grid");
      svg_.line(plot_.left - 6, y_(tick), plot_.left, y_(tick), "tick");
      svg_.text(plot_.left - 9, y_(tick) + 4, significant(tick, 1), "axis", Anchor::kEnd);
    }
    svg_.line(plot_.left, plot_.top, plot_.left, plot_.bottom, "tick");
    svg_.rect(strip_, "strip");
    svg_.text(plot_.left - 9, (strip_.top + strip_.bottom) / 2 + 4, "0", "axis", Anchor::kEnd);
    svg_.text(plot_.left - (narrow_ ? 44 : 60), 18, "Divergence from the 16-bit cache", "axis-name");
    svg_.text(plot_.left - (narrow_ ? 44 : 60), 34, "nats/token, log scale", "axis-unit");
    memory_axis();
    if (findings_.baseline) share_axis();
  }

  void memory_axis() {
    const ByteUnit unit = byte_unit(x_.high());
    const double bottom = strip_.bottom;
    for (const double tick : byte_ticks(x_.low(), x_.high(), narrow_ ? 4 : 9)) {
      svg_.line(x_(tick), plot_.top, x_(tick), plot_.bottom, "grid");
      svg_.line(x_(tick), bottom, x_(tick), bottom + 5, "tick");
      svg_.text(x_(tick), bottom + 19, trimmed(tick / unit.size, 5), "axis", Anchor::kMiddle);
    }
    svg_.line(plot_.left, bottom, plot_.right, bottom, "tick");
    svg_.text(plot_.right, bottom + 40, fmt::format("Peak memory, {}", unit.name), "axis-name", Anchor::kEnd);
  }

  void share_axis() {
    const double whole = findings_.cost(*findings_.baseline);
    for (const double tick : round_ticks(100 * x_.low() / whole, 100 * x_.high() / whole, narrow_ ? 4 : 9)) {
      const double place = x_(tick * whole / 100);
      svg_.line(place, plot_.top - 4, place, plot_.top, "tick");
      svg_.text(place, plot_.top - 8, trimmed(tick, 4) + " %", "axis faint", Anchor::kMiddle);
    }
    svg_.text(plot_.right, 34, narrow_ ? "of baseline" : "share of the baseline's memory", "axis-unit", Anchor::kEnd);
  }

  void staircase() {
    const auto& members = findings_.front.members;
    if (members.empty()) return;
    std::string d = fmt::format("M{} {}V{}", px(x(members[0])), px(plot_.top), px(y(findings_.loss(members[0]))));
    lines_.push_back({x(members[0]) - 1, plot_.top, x(members[0]) + 1, y(findings_.loss(members[0]))});
    for (size_t m = 1; m < members.size(); ++m) {
      const double from_y = y(findings_.loss(members[m - 1])), to_x = x(members[m]),
                   to_y = y(findings_.loss(members[m]));
      d += fmt::format("H{}V{}", px(to_x), px(to_y));
      lines_.push_back({x(members[m - 1]), from_y - 1, to_x, from_y + 1});
      lines_.push_back({to_x - 1, from_y, to_x + 1, to_y});
    }
    d += fmt::format("H{}", px(plot_.right));
    svg_.path(d, "staircase");
  }

  // Dominated points first, so that they lie beneath the front; the two named ones last.
  int rank(size_t i) const {
    if (i == findings_.baseline || i == findings_.recommended) return 2;
    return findings_.on_front[i] ? 1 : 0;
  }

  void points(int pass) {
    for (size_t i = 0; i < findings_.points.size(); ++i) {
      if (findings_.complete(i) && rank(i) == pass) point(i);
    }
  }

  void point(size_t i) {
    const double cx = x(i), cy = y(findings_.loss(i));
    const bool front = findings_.on_front[i];
    const std::string style = fmt::format("mark{}{}", front ? " front" : "", findings_.broken(i) ? " broken" : "");
    const auto scheme = scheme_bits(findings_.points[i].point.kv);
    svg_.open(style,
              fmt::format("data-p=\"{}\" data-front=\"{}\" data-chunk=\"{}\"{}", i, front ? 1 : 0,
                          findings_.points[i].point.chunk, rank(i) == 2 ? " data-keep=\"\"" : ""),
              tooltip(findings_, i));
    whiskers(i, cx, cy);
    if (i == findings_.baseline) {
      svg_.diamond(cx, cy, 7, "dot baseline");
    } else if (i == findings_.recommended) {
      svg_.circle(cx, cy, 10, "ring");
      svg_.circle(cx, cy, 5.5, "dot");
    } else {
      svg_.circle(cx, cy, front ? 4.5 : 3, "dot");
    }
    svg_.close();
    const double r = rank(i) == 2 ? 10 : front ? 5 : 3;
    taken_.push_back({cx - r, cy - r, cx + r, cy + r});
  }

  void whiskers(size_t i, double cx, double cy) {
    const auto interval = error_bar(findings_.points[i].values.at("kld_mean"));
    if (!interval || in_strip(i)) return;
    const double top = y(interval->high);
    const double bottom = interval->low > y_.low() ? y(interval->low) : plot_.bottom;
    if (bottom - top < 2) return;
    svg_.line(cx, top, cx, bottom, "bar");
    if (findings_.on_front[i]) taken_.push_back({cx - 1, std::min(top, cy), cx + 1, std::max(bottom, cy)});
  }

  void labels() {
    std::vector<size_t> order;
    for (const auto& named : {findings_.recommended, findings_.baseline}) {
      if (named && findings_.complete(*named)) order.push_back(*named);
    }
    const size_t required = order.size();
    for (const size_t i : findings_.front.members) {
      if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
    }
    std::vector<Label> wanted;
    for (const size_t i : order) {
      const bool named = wanted.size() < required;
      const std::string kind = i == findings_.recommended ? (i == findings_.front.knee ? ", knee" : ", recommended")
                               : named                    ? ", baseline"
                                                          : "";
      wanted.push_back({x(i), y(findings_.loss(i)), findings_.label(i) + kind, named ? 13.5 : 11.5, named});
    }
    const double limit = y(findings_.max_loss);
    lines_.push_back({plot_.left, limit - 1, plot_.right, limit + 1});
    taken_.push_back({plot_.right - 230, plot_.top, plot_.right, plot_.top + 44});
    const Box bounds{plot_.left + 2, plot_.top, plot_.right - 2, strip_.bottom};
    const auto places = place_labels(wanted, taken_, lines_, bounds);
    for (size_t k = 0; k < places.size(); ++k) {
      if (places[k]) write_label(wanted[k], *places[k], order[k]);
    }
  }

  void write_label(const Label& label, const Placement& place, size_t i) {
    if (place.leader) {
      const double to_x = std::clamp(label.x, place.box.left, place.box.right);
      const double to_y = std::clamp(label.y, place.box.top, place.box.bottom);
      svg_.line(label.x, label.y, to_x, to_y, "leader");
    }
    const char* style = i == findings_.recommended ? "label best" : i == findings_.baseline ? "label base" : "label";
    svg_.text(place.x, place.y, label.text, style);
  }

  const Findings& findings_;
  bool narrow_;
  double width_, height_;
  Box plot_, strip_;
  Svg svg_;
  Scale x_, y_;
  std::vector<Box> taken_, lines_;
};

std::string draw_at(const Findings& findings, Width width) { return Frontier(findings, width).draw(); }

std::string bar_legend(const Findings& findings) {
  for (const size_t i : findings.front.members) {
    const std::string name = error_bar_name(findings.points[i].values.at("kld_mean"));
    if (!name.empty()) return legend_entry("k-bar", name);
  }
  return {};
}

std::string filters(const Findings& findings) {
  std::vector<int> chunks;
  for (size_t i = 0; i < findings.points.size(); ++i) {
    if (findings.complete(i)) chunks.push_back(findings.points[i].point.chunk);
  }
  std::sort(chunks.begin(), chunks.end());
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  std::string markup = "<div class=\"filters script\"><span>Show</span>";
  markup += "<button type=\"button\" data-filter=\"front\" data-value=\"\" aria-pressed=\"true\">all</button>";
  markup += "<button type=\"button\" data-filter=\"front\" data-value=\"1\" aria-pressed=\"false\">front only</button>";
  if (chunks.size() > 1) {
    markup += "<span>chunk</span>";
    markup += "<button type=\"button\" data-filter=\"chunk\" data-value=\"\" aria-pressed=\"true\">any</button>";
    for (const int chunk : chunks) {
      markup += fmt::format(
          "<button type=\"button\" data-filter=\"chunk\" data-value=\"{0}\" aria-pressed=\"false\">{0}</button>",
          chunk);
    }
  }
  return markup + "</div>";
}

}  // namespace

Drawing draw_frontier(const Findings& findings) {
  const size_t complete = findings.count_complete(), broken = findings.count_broken();
  if (complete == 0) return {};
  Drawing drawing;
  drawing.lead = fmt::format(
      "Each dot is one measured configuration; further left and further down is better. {} of {} {} on the front: "
      "nothing measured is both smaller and closer to the 16-bit cache.",
      findings.front.members.size(), complete, findings.front.members.size() == 1 ? "is" : "are");
  if (broken > 0) {
    const std::string cause = common_cause(findings);
    drawing.lead += fmt::format(" <strong>{} of {} {} broken</strong>{}.", broken, complete, broken == 1 ? "is" : "are",
                                cause.empty() ? "" : ": " + escape_html(cause));
  }
  drawing.figure = filters(findings) + by_width(findings, draw_at);
  drawing.figure +=
      "<p class=\"legend\">" + legend_entry("k-front", "on the front") + legend_entry("k-grey", "dominated") +
      (broken > 0 ? legend_entry("k-broken", "on the front, yet broken") : "") +
      (findings.baseline ? legend_entry("k-base", "16-bit baseline") : "") + bar_legend(findings) + "</p>";
  drawing.note =
      "The memory axis does not begin at zero. The strip below the axis holds divergences of zero (the baseline "
      "against itself) and below 0.00001.";
  if (findings.several_chunks()) {
    drawing.note +=
        fmt::format(" A number after a dot, as in k8v4·128, is a prefill chunk other than {}.", findings.chunk);
  }
  return drawing;
}

}  // namespace kvpareto
