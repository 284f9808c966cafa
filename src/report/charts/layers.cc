// Bits by layer of the configuration that is recommended, and below them what each layer loses when one of its sides
// alone has few bits: whether the bits lie where they are needed.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/charts.h"
#include "report/format.h"
#include "report/labels.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

constexpr size_t kMostOfSide = 3;  // schemes drawn of keys, and of values
constexpr double kRow = 24;        // height of a row of bits

// A scheme of one side, tried in every layer.
struct Series {
  size_t side;        // of the table
  std::string style;  // "side-k s0": the side, and which of its schemes
  double shift;       // of its marks from the middle of a layer, in widths of a layer
};

std::vector<Series> make_series(const Sensitivity& table) {
  std::map<char, size_t> ranks;
  std::vector<Series> list;
  for (size_t side = 0; side < table.sides.size(); ++side) {
    const char letter = table.sides[side].front();
    const size_t rank = ranks[letter]++;
    if (rank >= kMostOfSide) continue;
    list.push_back(
        {side, fmt::format("{} s{}", letter == 'k' ? "side-k" : "side-v", rank), letter == 'k' ? -0.16 : 0.16});
  }
  return list;
}

bool shown(const Estimate& loss) { return loss.value >= kLeastShown && std::isfinite(loss.value); }

// The configuration whose bits are drawn.
std::optional<size_t> chosen(const Findings& findings) {
  return findings.recommended ? findings.recommended : findings.baseline;
}

class Layers {
 public:
  Layers(const Findings& findings, Width width)
      : findings_(findings),
        table_(findings.sensitivity),
        series_(make_series(table_)),
        count_(table_.layers.back().layer + 1),
        narrow_(width == Width::kNarrow),
        width_(width == Width::kWide     ? 1056
               : width == Width::kMedium ? 704
                                         : 344),
        plot_{narrow_ ? 54.0 : 62.0, 0, width_ - 12, 0},
        y_(Scale::linear(0, 1, 0, 1)) {
    if (const auto i = chosen(findings)) {
      bits_ = bits_by_layer(findings.points[*i].point.kv, count_);
      count_ = std::max(count_, static_cast<int>(bits_.size()));
    }
    plot_.top = bits_.empty() ? 48 : 30 + 2 * kRow + 64;
    plot_.bottom = plot_.top + (narrow_ ? 280 : 320);
    set_scale();
  }

  std::string draw() {
    Svg svg(width_, plot_.bottom + 42, "Bits of keys and values by layer, and the divergence that each layer causes");
    if (!bits_.empty()) bits(svg);
    axes(svg);
    for (const Series& series : series_) trend(svg, series);
    for (const Series& series : series_) marks(svg, series);
    names(svg);
    return svg.str();
  }

 private:
  double layer_width() const { return (plot_.right - plot_.left) / count_; }
  double left_of(int layer) const { return plot_.left + layer_width() * layer; }
  double x(int layer, const Series& series) const { return left_of(layer) + layer_width() * (0.5 + series.shift); }
  double y(double loss) const { return std::clamp(y_(std::max(loss, y_.low())), plot_.top, plot_.bottom); }

  void set_scale() {
    double low = 1e300, high = 0;
    for (const Sensitivity::Layer& row : table_.layers) {
      for (const Series& series : series_) {
        const Estimate& loss = row.loss[series.side];
        if (!shown(loss)) continue;
        low = std::min(low, loss.value);
        const auto interval = error_bar(loss);
        high = std::max(high, interval && std::isfinite(interval->high) ? interval->high : loss.value);
      }
    }
    if (high == 0) low = kLeastShown, high = 1;
    y_ = Scale::logarithmic(round_down(std::max(low * 0.8, kLeastShown)), high * 2, plot_.bottom, plot_.top);
  }

  void bits(Svg& svg) const {
    const size_t i = *chosen(findings_);
    const char* what = i == findings_.recommended ? "recommended" : "baseline";
    svg.text(0, 18, "Bits", "axis-name");
    svg.text(36, 18, fmt::format("of the {} configuration", what), "axis-unit");
    row(svg, 30, "keys", "side-k", &LayerBits::k, &LayerBits::k_groups);
    row(svg, 30 + kRow, "values", "side-v", &LayerBits::v, &LayerBits::v_groups);
  }

  // Neighbouring layers with equal bits and groups are one box. Groups of their own are told where they have room.
  void row(Svg& svg, double top, const char* name, const char* style, int LayerBits::*side,
           std::string LayerBits::*groups) const {
    const auto alike = [&](size_t a, size_t b) {
      return bits_[a].*side == bits_[b].*side && bits_[a].*groups == bits_[b].*groups;
    };
    svg.text(plot_.left - 9, top + kRow / 2 + 3, name, "axis", Anchor::kEnd);
    for (size_t from = 0; from < bits_.size();) {
      size_t to = from + 1;
      while (to < bits_.size() && alike(to, from)) ++to;
      const int bits = bits_[from].*side;
      const Box box{left_of(static_cast<int>(from)) + 1, top, left_of(static_cast<int>(to)) - 1, top + kRow - 3};
      const std::string& own = bits_[from].*groups;
      const std::string whole = own.empty() ? std::to_string(bits) : fmt::format("{} {}", bits, own);
      const auto fits = [&](const std::string& text) { return text_width(text, 12) <= box.right - box.left + 2; };
      const std::string text = fits(whole) ? whole : std::to_string(bits);
      const std::string layers =
          to == from + 1 ? fmt::format("layer {}", from) : fmt::format("layers {}–{}", from, to - 1);
      svg.open("mark", {},
               fmt::format("{} of {}\nStored with\t{} bits{}{}", side == &LayerBits::k ? "Keys" : "Values", layers,
                           bits, own.empty() ? "" : ", ", own));
      svg.rect(box, fmt::format("cell bits {} b{}", style, bits >= 16 ? 3 : bits >= 8 ? 2 : bits >= 4 ? 1 : 0));
      if (fits(text)) {
        svg.text((box.left + box.right) / 2, top + kRow / 2 + 3, text, "cell-text", Anchor::kMiddle);
      }
      svg.close();
      from = to;
    }
  }

  void axes(Svg& svg) const {
    svg.text(0, plot_.top - 32, "Divergence of one layer alone", "axis-name");
    svg.text(0, plot_.top - 16, "nats/token, log scale", "axis-unit");
    if (findings_.max_loss > y_.low() && findings_.max_loss < y_.high()) {
      svg.rect({plot_.left, plot_.top, plot_.right, y(findings_.max_loss)}, "zone");
      svg.line(plot_.left, y(findings_.max_loss), plot_.right, y(findings_.max_loss), "limit");
      svg.text(plot_.right - 8, plot_.top + 16, fmt::format("above the limit of {}", trimmed(findings_.max_loss, 2)),
               "zone-text", Anchor::kEnd);
    }
    for (const double tick : decade_ticks(y_.low(), y_.high(), true)) {
      svg.line(plot_.left - 3, y_(tick), plot_.left, y_(tick), "tick minor");
    }
    for (const double tick : decade_ticks(y_.low(), y_.high(), false)) {
      svg.line(plot_.left, y_(tick), plot_.right, y_(tick), "grid");
      svg.text(plot_.left - 9, y_(tick) + 4, significant(tick, 1), "axis", Anchor::kEnd);
    }
    svg.line(plot_.left, plot_.top, plot_.left, plot_.bottom, "tick");
    svg.line(plot_.left, plot_.bottom, plot_.right, plot_.bottom, "tick");
    int every = 1;
    for (const int step : {2, 5, 10, 20, 50, 100}) {
      if (layer_width() * every < 22) every = step;
    }
    for (int layer = 0; layer < count_; layer += every) {
      const double middle = left_of(layer) + layer_width() / 2;
      svg.line(middle, plot_.bottom, middle, plot_.bottom + 4, "tick");
      svg.text(middle, plot_.bottom + 17, std::to_string(layer), "axis", Anchor::kMiddle);
    }
    svg.text(plot_.right, plot_.bottom + 36, "layer", "axis-name", Anchor::kEnd);
  }

  void trend(Svg& svg, const Series& series) const {
    std::string d;
    int last = -2;
    for (const Sensitivity::Layer& row : table_.layers) {
      if (!shown(row.loss[series.side])) continue;
      d += fmt::format("{}{} {}", row.layer == last + 1 ? "L" : "M", px(x(row.layer, series)),
                       px(y(row.loss[series.side].value)));
      last = row.layer;
    }
    if (!d.empty()) svg.path(d, "trail " + series.style);
  }

  void marks(Svg& svg, const Series& series) const {
    const double radius = std::clamp(layer_width() * 0.2, 2.2, 4.0);
    for (const Sensitivity::Layer& row : table_.layers) {
      const Estimate& loss = row.loss[series.side];
      if (!shown(loss)) continue;
      const double at = x(row.layer, series), height = y(loss.value);
      svg.open("mark", {}, tip(row, series));
      const auto interval = error_bar(loss);
      if (interval && std::isfinite(interval->high)) {
        svg.line(at, y(interval->low), at, y(interval->high), "probe-bar " + series.style);
      }
      svg.circle(at, height, radius, "probe " + series.style);
      svg.close();
    }
  }

  // How much more than the others, beside those that stand out, where there is room.
  void names(Svg& svg) const {
    std::vector<Label> labels;
    std::vector<std::string> styles;
    std::vector<Box> dots;
    for (const Series& series : series_) {
      for (const Sensitivity::Layer& row : table_.layers) {
        const Estimate& loss = row.loss[series.side];
        if (!shown(loss)) continue;
        const double at = x(row.layer, series), height = y(loss.value);
        dots.push_back({at - 4, height - 4, at + 4, height + 4});
        const double times = table_.times_median(row, series.side);
        if (!std::isfinite(times) || !table_.stands_out(row, series.side)) continue;
        labels.push_back({at, height, "×" + significant(times, 2), 12, false});
        styles.push_back("times " + series.style);
      }
    }
    const auto places = place_labels(labels, dots, {}, plot_);
    for (size_t i = 0; i < labels.size(); ++i) {
      if (places[i]) svg.text(places[i]->x, places[i]->y, labels[i].text, styles[i]);
    }
  }

  std::string tip(const Sensitivity::Layer& row, const Series& series) const {
    return tooltip(table_, row, series.side) +
           fmt::format("\nScheme\tk16v16,{}:{}", row.layer, table_.sides[series.side]);
  }

  const Findings& findings_;
  const Sensitivity& table_;
  std::vector<Series> series_;
  int count_;  // layers
  bool narrow_;
  double width_;
  Box plot_;
  std::vector<LayerBits> bits_;
  Scale y_;
};

std::string draw_layers_at(const Findings& findings, Width width) { return Layers(findings, width).draw(); }

}  // namespace

Drawing draw_layers(const Findings& findings) {
  const Sensitivity& table = findings.sensitivity;
  if (table.layers.empty()) return {};
  Drawing drawing;
  drawing.lead =
      "One side of one layer is packed and all the rest has 16 bits: what that alone costs." + standing_out(table);
  drawing.figure = by_width(findings, draw_layers_at) + "<div class=\"legend\">";
  for (const Series& series : make_series(table)) {
    drawing.figure += legend_entry(("probe-key " + series.style).c_str(), side_name(table.sides[series.side]));
  }
  drawing.figure += "</div>";
  const Regime& regime = table.regime;
  drawing.note = fmt::format("{} text{}, {} tokens of prefill, {} scored in steps of {}, chunk {}.", regime.texts,
                             regime.texts == 1 ? "" : "s", regime.prefill, regime.scored, regime.step, table.chunk);
  const std::string bar = error_bar_name(table.layers.front().loss.front());
  if (!bar.empty()) drawing.note += fmt::format(" Lines through the dots: {}.", bar);
  drawing.note +=
      " Groups of 64 channels where nothing else is said. A divergence below 1e-5 has no place on a logarithmic axis.";
  return drawing;
}

}  // namespace kvpareto
