#include "report/labels.h"

#include <algorithm>
#include <cmath>

namespace kvpareto {
namespace {

Placement at(const Label& label, double dx, double dy) {
  const double width = text_width(label.text, label.size);
  // dx > 0 puts the text right of the point, dx < 0 left of it, 0 centred; dy moves its middle.
  const double left = dx > 0 ? label.x + dx : dx < 0 ? label.x + dx - width : label.x - width / 2;
  const double middle = label.y + dy;
  const Box box{left - 1, middle - label.size * 0.6, left + width + 1, middle + label.size * 0.6};
  return {left, middle + label.size * 0.35, box, std::hypot(dx, dy) > 26};
}

double cost(const Placement& place, std::span<const Box> lines, double preference) {
  double sum = preference;
  for (const Box& line : lines) sum += place.box.overlaps(line) ? 20 : 0;
  return sum;
}

bool free_of(const Placement& place, std::span<const Box> boxes) {
  return std::none_of(boxes.begin(), boxes.end(), [&](const Box& box) { return place.box.overlaps(box); });
}

std::optional<Placement> best_place(const Label& label, std::span<const Box> taken, std::span<const Box> lines,
                                    const Box& bounds) {
  static constexpr double kReach[] = {9, 14, 22, 34, 52, 76, 110};
  const size_t rings = label.required ? std::size(kReach) : 3;
  std::optional<Placement> best;
  double least = label.required ? 1e9 : 19;  // an unimportant name is not worth crossing a line
  for (size_t ring = 0; ring < rings; ++ring) {
    const double r = kReach[ring];
    const std::pair<double, double> steps[] = {{r, -r * 0.75}, {r, 0},  {r, r * 0.75},  {0, -r - 3},
                                               {0, r + 3},     {-r, 0}, {-r, r * 0.75}, {-r, -r * 0.75}};
    double preference = static_cast<double>(ring) * 5;
    for (const auto& [dx, dy] : steps) {
      preference += 0.5;
      const Placement place = at(label, dx, dy);
      if (!place.box.inside(bounds) || !free_of(place, taken)) continue;
      const double price = cost(place, lines, preference);
      if (price >= least) continue;
      least = price;
      best = place;
    }
  }
  return best;
}

}  // namespace

std::vector<std::optional<Placement>> place_labels(std::span<const Label> labels, std::span<const Box> points,
                                                   std::span<const Box> lines, const Box& bounds) {
  std::vector<Box> taken(points.begin(), points.end());
  std::vector<std::optional<Placement>> places;
  for (const Label& label : labels) {
    places.push_back(best_place(label, taken, lines, bounds));
    if (places.back()) taken.push_back(places.back()->box);
  }
  return places;
}

}  // namespace kvpareto
