#include "cli/search_stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/progress.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/study_reading.h"
#include "search/verification.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

constexpr size_t kFewestPoints = 4;  // measured even if preparing took all the time: fewer show no frontier

std::string name_of(const Point& point) {
  return point.weights == Point().weights ? point.kv : point.weights + " " + point.kv;
}

std::string result_text(const Measurement& m) {
  if (m.state == State::kFailed) return fmt::format("{} failed: {}", to_text(m.point), m.reason);
  return fmt::format("{}: {} at {:.4f} nats", to_text(m.point), human_bytes(m.value("peak_bytes")),
                     m.value("kld_mean"));
}

// What the whole search will take: told once, as soon as a whole trial and a cheap one, or two whole ones, were timed.
class TimeToTell {
 public:
  explicit TimeToTell(int texts) : texts_(texts) {}

  void add(const Measurement& m, const Sampler& sampler, size_t measured) {
    const bool is_whole = m.regime.texts == texts_;
    (is_whole ? whole_ : cheap_) = m.provenance.seconds;
    wholes_ += is_whole;
    if (told_ || wholes_ == 0 || (cheap_ == 0 && wholes_ < 2)) return;
    told_ = true;
    const auto left = static_cast<double>(sampler.expected() - std::min(sampler.expected(), measured));
    const double whole = cheap_ == 0 ? left : std::min(left, kUsuallyWhole);
    const double seconds = whole * whole_ + (left - whole) * cheap_;
    if (seconds <= 60) return;
    note("about {:.0f} more trials, {} in all, before tasks and verification; Ctrl-C keeps what is done", left,
         human_seconds(seconds));
  }

 private:
  static constexpr double kUsuallyWhole = 8;  // trials
  int texts_;
  int wholes_ = 0;
  double whole_ = 0, cheap_ = 0;  // seconds of the last trial
  bool told_ = false;
};

Findings findings_of(const Study& study, const Regime& regime, ReportInput limits) {
  limits.measurements = all_choices(study, regime);
  limits.measurements = verified(std::move(limits.measurements), limits.max_loss);
  return read_study(limits);
}

// The recommended point first (unless it is the baseline, which loses nothing anywhere), then the members of the front
// by how near they are to it, the cheaper of two first.
std::vector<Point> finalists(const Findings& findings) {
  std::vector<Point> points;
  if (!findings.recommended) return points;
  const auto& members = findings.front.members;
  const auto chosen = std::find(members.begin(), members.end(), *findings.recommended) - members.begin();
  std::vector<ptrdiff_t> order;
  for (ptrdiff_t i = 0; i < static_cast<ptrdiff_t>(members.size()); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](ptrdiff_t a, ptrdiff_t b) { return std::abs(a - chosen) < std::abs(b - chosen); });
  for (const ptrdiff_t i : order) {
    const size_t member = members[static_cast<size_t>(i)];
    if (member != findings.baseline) points.push_back(findings.points[member].point);
  }
  return points;
}

bool has_all_scores(const Measurement& m, const TaskSet& tasks) {
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (std::isnan(m.value(tasks.task(i).name))) return false;
  }
  return true;
}

}  // namespace

TimeSpent::TimeSpent(Study& study, const Regime& regime, Clock::time_point start, double most)
    : study_(study), start_(start), name_("seconds spent on " + regime_key(regime)), most_(most) {
  const std::string kept = study.note(name_).value_or("0");
  std::from_chars(kept.data(), kept.data() + kept.size(), earlier_);
}

bool TimeSpent::is_up(double share) {
  const bool up = most_ > 0 && seconds() >= share * most_;
  if (up) keep();
  return up;
}

void measure_points(Evaluators& evaluators, Sampler& sampler, Study& study, TimeSpent& spent, double share) {
  std::vector<Measurement> measured = evaluators.kept(study);
  const size_t before = measured.size();
  TimeToTell told(evaluators.texts());
  Progress progress("search", static_cast<double>(sampler.expected()), "points");
  if (spent.limited()) progress.set_limit(spent.left(share));
  progress.skip(static_cast<double>(before));
  for (auto trials = sampler.propose(measured); !trials.empty(); trials = sampler.propose(measured)) {
    progress.set_total(static_cast<double>(std::max(sampler.expected(), measured.size() + trials.size())));
    // Loading other weights is slow; which come first does not matter, but the baseline's are loaded already.
    std::stable_sort(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) {
      return std::pair(a.point.weights != Point().weights, a.point.weights) <
             std::pair(b.point.weights != Point().weights, b.point.weights);
    });
    for (const auto& [point, texts] : trials) {
      if (measured.size() >= kFewestPoints && spent.is_up(share)) return;
      measured.push_back(evaluators.on(texts).measure(point, [&](double fraction, const std::string& what) {
        progress.update(static_cast<double>(measured.size()) + fraction, fmt::format("{} {}", name_of(point), what));
      }));
      study.record(measured.back());
      measured.back().regime.texts = texts;  // as samplers know it
      spent.keep();
      told.add(measured.back(), sampler, measured.size());
      progress.update(static_cast<double>(measured.size()), result_text(measured.back()));
    }
  }
  if (before > 0 && measured.size() == before) {
    note("all {} measurements of the study are reused; {} finds no other worth making", before, sampler.name());
  }
}

void measure_tasks(Evaluators& evaluators, Study& study, TimeSpent& spent, double share, const ReportInput& limits,
                   int most) {
  const Regime regime = evaluators.whole().regime();
  const Findings findings = findings_of(study, regime, limits);
  std::vector<Point> wanted = finalists(findings);
  wanted.resize(std::min(wanted.size(), static_cast<size_t>(most)));
  if (findings.baseline) wanted.insert(wanted.begin(), findings.points[*findings.baseline].point);
  Progress progress("tasks", static_cast<double>(wanted.size()), "points");
  if (spent.limited()) progress.set_limit(spent.left(share));
  for (size_t done = 0; done < wanted.size(); ++done) {
    Measurement m = *study.find(wanted[done], regime);
    if (has_all_scores(m, evaluators.whole().tasks())) continue;
    if (spent.is_up(share)) break;
    evaluators.whole().measure_tasks(m, &study, [&](double fraction, const std::string& what) {
      progress.update(static_cast<double>(done) + fraction, fmt::format("{} {}", name_of(m.point), what));
    });
    if (m.state == State::kFailed) {
      note("{}: the tasks could not be measured: {}", to_text(m.point), m.reason);
      return;
    }
    study.record(m);
    spent.keep();
  }
}

void verify(Evaluator& held_out, const Regime& regime, Study& study, TimeSpent& spent, const ReportInput& limits,
            int most) {
  Progress progress("verifying", most, "points");
  for (int done = 0; done < most;) {
    const std::vector<Point> points = finalists(findings_of(study, regime, limits));
    const auto next = std::find_if(points.begin(), points.end(), [&](const Point& point) {
      const auto kept = study.find(point, regime);
      return kept && !kept->values.contains(kHeldOut);
    });
    // As many as wanted have been looked at, now or by an earlier run.
    const auto looked_at = std::count_if(points.begin(), points.end(), [&](const Point& point) {
      return study.find(point, regime)->values.contains(kHeldOut);
    });
    if (next == points.end() || looked_at >= most || spent.is_up(1)) return;
    const Measurement there = held_out.measure(*next, [&](double fraction, const std::string& what) {
      progress.update(done + fraction, fmt::format("{} {}", name_of(*next), what));
    });
    if (there.state == State::kFailed) {
      note("{} could not be verified: {}", to_text(*next), there.reason);
      return;
    }
    Measurement m = *study.find(*next, regime);
    m.values[kHeldOut] = there.values.at("kld_mean");
    m.texts[kHeldOut] = there.texts.at("kld_mean");
    study.record(m);
    spent.keep();
    progress.update(++done, result_text(there));
  }
}

}  // namespace kvpareto
