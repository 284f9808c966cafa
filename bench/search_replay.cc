// Plays searches over a table in which every point was measured (bench/search_table.py), as if it were a machine: how
// much of the whole table's hypervolume has each sampler found, at what part of the whole table's cost?
//
//   search_replay TABLE.csv [seeds = 20]
//
// A trial on n of the N texts costs n / N of a point, less what was paid for that point before. A seed draws the order
// of the texts as well, so that a search begins on another one. Axes: weights, keys, values, chunk.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/statistics.h"
#include "base/text.h"
#include "cli/describe_point.h"
#include "kv/scheme.h"
#include "search/sampler.h"
#include "search/trade.h"

namespace kvpareto {
namespace {

constexpr int kHeadDim = 64;  // of both models whose tables are kept
constexpr double kCosts[] = {0.02, 0.05, 0.1, 0.2, 0.5};
constexpr double kGoal = 0.99;

struct Row {
  Point point;
  double bytes;
  std::vector<double> losses;  // of every text
};

std::vector<Row> read_table(const std::string& path) {
  std::vector<Row> rows;
  for (const std::string& line : split(read_file(path), '\n')) {
    // A scheme with changes of layers has commas, and is quoted.
    const bool quoted = line.starts_with('"');
    const size_t end = quoted ? line.find('"', 1) : line.find(',');
    if (end == std::string::npos || line.starts_with("point,")) continue;
    const auto cells = split(line.substr(end + (quoted ? 2 : 1)), ',');
    if (cells.size() < 5) fail("{}: wanted bytes, bits, the mean and each text's loss, found '{}'", path, line);
    Row row{parse_point(line.substr(quoted, end - quoted)), std::stod(cells[0]), {}};
    for (size_t i = 4; i < cells.size(); ++i) row.losses.push_back(std::stod(cells[i]));
    rows.push_back(row);
  }
  if (rows.empty()) fail("{}: wanted a table of bench/search_table.py, found no row", path);
  return rows;
}

std::vector<std::string> parts_of(const Point& point) {
  const LayerScheme base = parse_scheme(point.kv).base();
  return {point.weights, to_text(base.keys), to_text(base.values), std::to_string(point.chunk)};
}

// Axes with each choice once; combinations that the table lacks are not valid.
Space grid_space(const std::vector<Row>& rows) {
  Space space;
  space.axes = {{"weights", "weights", {}}, {"keys", "keys", {}}, {"values", "values", {}}, {"chunk", "chunk", {}}};
  auto points = std::make_shared<std::map<std::vector<std::string>, Point>>();
  for (const Row& row : rows) {
    const auto parts = parts_of(row.point);
    (*points)[parts] = row.point;
    for (size_t axis = 0; axis < parts.size(); ++axis) {
      auto& choices = space.axes[axis].choices;
      if (std::find(choices.begin(), choices.end(), parts[axis]) == choices.end()) choices.push_back(parts[axis]);
    }
  }
  const auto axes = space.axes;
  space.make = [axes, points](const Choices& choices) {
    std::vector<std::string> parts;
    for (size_t axis = 0; axis < axes.size(); ++axis)
      parts.push_back(axes[axis].choices[static_cast<size_t>(choices[axis])]);
    const auto found = points->find(parts);
    return found == points->end() ? Made{{}, "not in the table"} : Made{found->second, {}};
  };
  space.describe = [](const Point& point) { return describe_point(point, 1, kHeadDim, Detail::kTogether); };
  return space;
}

// The fraction of the table's hypervolume that was found, after every trial, against the part of its cost.
struct Course {
  std::vector<std::pair<double, double>> steps;  // cost, fraction
  double at(double cost) const {
    double fraction = 0;
    for (const auto& [spent, found] : steps) fraction = spent <= cost + 1e-9 ? found : fraction;
    return fraction;
  }
  double cost_of(double fraction) const {
    for (const auto& [spent, found] : steps) {
      if (found >= fraction) return spent;
    }
    return std::numeric_limits<double>::infinity();
  }
};

Course play(const std::string& sampler_name, const Space& space, const std::vector<Row>& rows, uint64_t seed,
            double budget) {
  std::map<std::string, const Row*> by_point;
  std::vector<Place> everywhere;
  for (const Row& row : rows) {
    by_point[to_text(row.point)] = &row;
    everywhere.push_back({row.bytes, mean(row.losses)});
  }
  const Bounds box = bounds_of(everywhere);
  const double whole = hypervolume(everywhere, box);
  const size_t texts = rows.front().losses.size();
  std::vector<size_t> order(texts);
  std::iota(order.begin(), order.end(), 0);
  Random random(seed);
  for (size_t i = texts; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);

  const auto sampler =
      make_sampler(sampler_name, space, {static_cast<int>(texts), seed, budget * static_cast<double>(rows.size())});
  std::vector<Measurement> measured;
  std::vector<Place> found;
  Course course;
  std::map<std::string, int> paid;  // texts, by point
  double spent = 0;
  for (auto trials = sampler->propose(measured); !trials.empty(); trials = sampler->propose(measured)) {
    for (const Trial& trial : trials) {
      const Row& row = *by_point.at(to_text(trial.point));
      Measurement m;
      m.point = trial.point;
      m.regime.texts = trial.texts;
      for (int i = 0; i < trial.texts; ++i) m.texts["kld_mean"].push_back(row.losses[order[static_cast<size_t>(i)]]);
      m.values = {{"peak_bytes", {row.bytes, 0, 1}}, {"kld_mean", estimate(m.texts["kld_mean"])}};
      measured.push_back(m);
      int& before = paid[to_text(trial.point)];
      spent += std::max(0, trial.texts - before) / static_cast<double>(texts);
      before = std::max(before, trial.texts);
      if (trial.texts == static_cast<int>(texts)) found.push_back(place_of(&m));
      course.steps.emplace_back(spent / static_cast<double>(rows.size()), hypervolume(found, box) / whole);
    }
  }
  return course;
}

// A sampler that must know its budget beforehand is played with several: what each has at its end.
Course play_budgets(const std::string& sampler_name, const Space& space, const std::vector<Row>& rows, uint64_t seed) {
  Course course;
  for (const double budget : {0.02, 0.05, 0.1, 0.15, 0.2, 0.35, 0.5, 0.75, 1.0}) {
    const Course one = play(sampler_name, space, rows, seed, budget);
    if (!one.steps.empty()) course.steps.push_back(one.steps.back());
  }
  return course;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string percent(double fraction) {
  return std::isfinite(fraction) ? fmt::format("{:.1f} %", 100 * fraction) : "never";
}

void report(const std::string& name, const std::vector<Course>& courses) {
  std::vector<double> costs;
  for (const Course& course : courses) costs.push_back(course.cost_of(kGoal));
  std::string line = fmt::format("| {} |", name);
  for (const double cost : kCosts) {
    std::vector<double> fractions;
    for (const Course& course : courses) fractions.push_back(course.at(cost));
    line += fmt::format(" {} ({}) |", percent(median(fractions)),
                        percent(*std::min_element(fractions.begin(), fractions.end())));
  }
  const auto within = std::count_if(costs.begin(), costs.end(), [](double cost) { return cost <= 0.1; });
  fmt::print("{} {} | {} | {} of {} |\n", line, percent(median(costs)),
             percent(*std::max_element(costs.begin(), costs.end())), within, costs.size());
}

void run(const std::string& path, uint64_t seeds) {
  const std::vector<Row> rows = read_table(path);
  Space space = grid_space(rows);
  space.baselines = {rows.front().point};
  for (const Row& row : rows) {
    if (to_text(row.point) == to_text(Point())) space.baselines = {row.point};
  }
  auto bytes = std::make_shared<std::map<std::string, double>>();
  for (const Row& row : rows) (*bytes)[to_text(row.point)] = row.bytes;
  space.bytes = [bytes](const Point& point) { return bytes->at(to_text(point)); };
  fmt::print("{}: {} points of {} texts, {} seeds; median (worst) of the hypervolume found at a part of the cost\n\n",
             path, rows.size(), rows.front().losses.size(), seeds);
  fmt::print("| sampler |");
  for (const double cost : kCosts) fmt::print(" at {} |", percent(cost));
  fmt::print(" 99 % at, median | worst | within 10 % |\n| --- |");
  for (size_t i = 0; i < std::size(kCosts) + 3; ++i) fmt::print(" ---: |");
  fmt::print("\n");
  for (const std::string name : {"random", "nsga2", "halving", "guided"}) {
    std::vector<Course> courses;
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      courses.push_back(name == "halving" ? play_budgets(name, space, rows, seed) : play(name, space, rows, seed, 1));
    }
    report(name, courses);
  }
}

}  // namespace
}  // namespace kvpareto

int main(int count, char** arguments) {
  using namespace kvpareto;
  try {
    if (count < 2) fail_usage("usage: search_replay TABLE.csv [seeds]");
    run(arguments[1], count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 20);
  } catch (const Error& error) {
    fmt::print(stderr, "search_replay: {}\n", error.what());
    return static_cast<int>(error.exit());
  }
  return 0;
}
