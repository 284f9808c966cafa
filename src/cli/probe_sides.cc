#include "cli/probe_sides.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace kvpareto {
namespace {

SideScheme& side_of(LayerScheme& layer, bool keys) { return keys ? layer.keys : layer.values; }

// The column of the `rank`-th side of a letter, or of the last one; none if the letter was not tried.
std::optional<size_t> column_of(const Sensitivity& table, char letter, size_t rank) {
  std::optional<size_t> column;
  for (size_t side = 0, seen = 0; side < table.sides.size(); ++side) {
    if (table.sides[side].front() == letter && seen++ <= rank) column = side;
  }
  return column;
}

double sum_of(const Sensitivity& table, size_t column) {
  double sum = 0;
  for (const Sensitivity::Layer& row : table.layers) {
    if (std::isfinite(row.loss[column].value)) sum += row.loss[column].value;
  }
  return sum;
}

}  // namespace

ProbeSide parse_probe_side(const std::string& option, char letter, const std::string& text) {
  if (!text.starts_with(letter)) {
    fail_usage("{}: wanted a side such as {}4 or {}4t32.had, found '{}'", option, letter, letter, text);
  }
  const KvScheme scheme = parse_scheme("k16v16,0:" + text);
  const LayerScheme& layer = scheme.at(0);
  const bool keys = letter == 'k';
  if (scheme.changed().size() != 1 || !((keys ? layer.values : layer.keys) == SideScheme{})) {
    fail_usage("{}: wanted a change of one side, such as {}4, found '{}'", option, letter, text);
  }
  return {keys, keys ? layer.keys : layer.values};
}

KvScheme probe_scheme(const ProbeSide& side, int layer) {
  KvScheme scheme;
  LayerScheme changed = scheme.base();
  side_of(changed, side.keys) = side.scheme;
  scheme.change(layer, changed);
  return scheme;
}

KvScheme suggested_scheme(const Sensitivity& table, size_t rank) {
  const auto keys = column_of(table, 'k', rank), values = column_of(table, 'v', rank);
  const double whole = (keys ? sum_of(table, *keys) : 0) + (values ? sum_of(table, *values) : 0);
  LayerScheme base;
  for (const auto& column : {keys, values}) {
    if (column)
      side_of(base, column == keys) = parse_probe_side("", table.sides[*column].front(), table.sides[*column]).scheme;
  }
  KvScheme scheme(base);
  for (const auto& column : {keys, values}) {
    if (!column) continue;
    const bool of_keys = column == keys;
    const char letter = of_keys ? 'k' : 'v';
    const size_t best = *column_of(table, letter, 0);
    SideScheme more = side_of(base, of_keys);
    more.codec = Codec::kInt8;
    if (*column > best) more = parse_probe_side("", letter, table.sides[*column - 1]).scheme;
    for (const Sensitivity::Layer& row : table.layers) {
      if (!table.stands_out(row, *column) || row.loss[*column].value <= kWorthBits * whole) continue;
      LayerScheme changed = scheme.at(row.layer);
      side_of(changed, of_keys) = more;
      scheme.change(row.layer, changed);
    }
  }
  return scheme;
}

}  // namespace kvpareto
