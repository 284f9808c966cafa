// What each kind of linear of each layer loses when it alone has few bits: a row a kind, a column a layer.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/format.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

constexpr double kRow = 30, kTop = 8, kSumWidth = 62;
constexpr int kSteps = 6;  // colours of style.cc: h0 to h5

bool known(const Estimate& loss) { return std::isfinite(loss.value); }

struct Range {
  double low = 1e300, high = 0;  // nats/token
};

Range range_of(const Sensitivity& table) {
  Range range;
  for (const Sensitivity::Layer& row : table.layers) {
    for (const Estimate& loss : row.loss) {
      if (!known(loss)) continue;
      range.low = std::min(range.low, std::max(loss.value, kLeastShown));
      range.high = std::max(range.high, loss.value);
    }
  }
  range.high = std::max(range.high, 2 * range.low);
  return range;
}

// Sum over the layers that were measured, nats/token.
double sum_of(const Sensitivity& table, size_t side) {
  double sum = 0;
  for (const Sensitivity::Layer& row : table.layers) {
    if (known(row.loss[side])) sum += row.loss[side].value;
  }
  return sum;
}

class WeightLayers {
 public:
  WeightLayers(const Sensitivity& table, Width width)
      : table_(table),
        count_(table.layers.back().layer + 1),
        range_(range_of(table)),
        with_sums_(width != Width::kNarrow),
        width_(width == Width::kWide     ? 1056
               : width == Width::kMedium ? 704
                                         : 344) {
    for (const std::string& side : table.sides) left_ = std::max(left_, text_width(side_name(side), 12) + 10);
    cell_ = (width_ - left_ - (with_sums_ ? kSumWidth : 0)) / count_;
  }

  std::string draw() const {
    const double bottom = kTop + kRow * static_cast<double>(table_.sides.size());
    Svg svg(width_, bottom + 42, "Divergence by kind of linear and layer");
    for (size_t side = 0; side < table_.sides.size(); ++side) {
      const double top = kTop + kRow * static_cast<double>(side), line = top + kRow / 2 + 3;
      svg.text(left_ - 8, line, side_name(table_.sides[side]), "axis", Anchor::kEnd);
      for (const Sensitivity::Layer& row : table_.layers) cell(svg, row, side, top);
      if (with_sums_) svg.text(width_ - 4, line, significant(sum_of(table_, side), 2), "axis", Anchor::kEnd);
    }
    if (with_sums_) svg.text(width_ - 4, bottom + 17, "sum", "axis-unit", Anchor::kEnd);
    int every = 1;
    for (const int step : {2, 5, 10, 20, 50, 100}) {
      if (cell_ * every < 22) every = step;
    }
    for (int layer = 0; layer < count_; layer += every) {
      svg.text(left_ + cell_ * (layer + 0.5), bottom + 17, std::to_string(layer), "axis", Anchor::kMiddle);
    }
    svg.text(left_ + cell_ * count_, bottom + 36, "layer", "axis-name", Anchor::kEnd);
    return svg.str();
  }

 private:
  void cell(Svg& svg, const Sensitivity::Layer& row, size_t side, double top) const {
    const double left = left_ + cell_ * row.layer;
    const Box box{left, top, left + cell_ - std::min(2.0, cell_ / 5), top + kRow - 2};
    const Estimate& loss = row.loss[side];
    if (!known(loss)) {
      svg.rect(box, "cell none");
      return;
    }
    svg.open("mark", {}, tip(row, side));
    svg.rect(box, fmt::format("cell h{}", step_of(loss.value)));
    if (table_.stands_out(row, side))
      svg.rect({box.left + 1.5, box.top + 1.5, box.right - 1.5, box.bottom - 1.5}, "cell-best");
    svg.close();
  }

  int step_of(double loss) const {
    const double share = std::log(std::max(loss, range_.low) / range_.low) / std::log(range_.high / range_.low);
    return std::clamp(static_cast<int>(share * kSteps), 0, kSteps - 1);
  }

  std::string tip(const Sensitivity::Layer& row, size_t side) const {
    return tooltip(table_, row, side) + fmt::format("\nWeights\tw16,{}.{}", row.layer, table_.sides[side]);
  }

  const Sensitivity& table_;
  int count_;  // layers
  Range range_;
  bool with_sums_;
  double width_, left_ = 0, cell_ = 0;
};

std::string draw_weight_layers_at(const Findings& findings, Width width) {
  return WeightLayers(findings.weight_sensitivity, width).draw();
}

}  // namespace

Drawing draw_weight_layers(const Findings& findings) {
  const Sensitivity& table = findings.weight_sensitivity;
  if (table.layers.empty()) return {};
  Drawing drawing;
  drawing.lead =
      "One kind of linear in one layer has few bits and all the rest has 16: what that alone costs, the darker the "
      "more." +
      standing_out(table);
  drawing.figure = by_width(findings, draw_weight_layers_at);
  const Regime& regime = table.regime;
  const Range range = range_of(table);
  drawing.note = fmt::format(
      "Nats/token; colours from {} to {} in equal ratios. {} text{}, {} tokens of prefill, {} scored in steps of {}, "
      "chunk {}. "
      "Rounded to nearest.",
      significant(range.low, 1), significant(range.high, 1), regime.texts, regime.texts == 1 ? "" : "s", regime.prefill,
      regime.scored, regime.step, table.chunk);
  return drawing;
}

}  // namespace kvpareto
