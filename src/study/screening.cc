#include "study/screening.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "study/task_facts.h"

namespace kvpareto {
namespace {

constexpr std::array<const char*, 4> kNames = {"usable", "more samples needed", "unstable", "too hard"};

std::string note_name(const std::string& model_hash) { return "screening of " + model_hash; }

// The lower end of the 95 % interval of a share (Wilson 1927), which has a width where all marks are equal too.
double lower_end(const Estimate& score) {
  constexpr double kZ = 1.959964;
  const double n = static_cast<double>(score.samples), p = score.value;
  const double center = p + kZ * kZ / (2 * n), width = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  return (center - width) / (1 + kZ * kZ / n);
}

Standing standing_of(const TaskFacts& facts, const Screened& screened) {
  if (facts.kind == ScoreKind::kPerplexity) {
    return std::isfinite(screened.score.value) ? Standing::kUsable : Standing::kTooHard;
  }
  const double wanted = facts.chance + kLeastRoom;
  if (screened.score.value < wanted) return Standing::kTooHard;
  if (screened.unrest > kMostUnrest) return Standing::kUnstable;
  return lower_end(screened.score) < wanted ? Standing::kUnclear : Standing::kUsable;
}

double mean_change(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

}  // namespace

std::string to_text(Standing standing) { return kNames[static_cast<size_t>(standing)]; }

std::vector<Screened> screen(const Measurement& exact, const Measurement& nearly) {
  std::vector<Screened> tasks;
  for (const TaskFacts& facts : task_facts()) {
    const auto samples = exact.samples.find(facts.name), others = nearly.samples.find(facts.name);
    if (samples == exact.samples.end() || others == nearly.samples.end() || samples->second != others->second) continue;
    Screened screened{facts.name, exact.values.at(facts.name)};
    const auto marks = exact.texts.find(facts.name);
    if (marks != exact.texts.end()) screened.unrest = mean_change(marks->second, nearly.texts.at(facts.name));
    screened.standing = standing_of(facts, screened);
    tasks.push_back(screened);
  }
  return tasks;
}

void keep_screening(Study& study, const std::string& model_hash, const std::vector<Screened>& tasks) {
  std::vector<Screened> all = kept_screening(study, model_hash);
  for (const Screened& task : tasks) {
    std::erase_if(all, [&](const Screened& other) { return other.task == task.task; });
    all.push_back(task);
  }
  nlohmann::json list = nlohmann::json::array();
  for (const Screened& s : all) {
    list.push_back({{"task", s.task},
                    {"score", s.score.value},
                    {"standard_error", s.score.standard_error},
                    {"samples", s.score.samples},
                    {"unrest", s.unrest},
                    {"standing", to_text(s.standing)}});
  }
  study.set_note(note_name(model_hash), list.dump());
}

std::vector<Screened> kept_screening(const Study& study, const std::string& model_hash) {
  std::vector<Screened> tasks;
  const auto kept = study.note(note_name(model_hash));
  if (!kept) return tasks;
  try {
    for (const auto& s : nlohmann::json::parse(*kept)) {
      const auto name = std::find(kNames.begin(), kNames.end(), s.at("standing").get<std::string>());
      // A single sample has no standard error: JSON has null for that.
      const double error = s.at("standard_error").is_null() ? std::nan("") : s.at("standard_error").get<double>();
      tasks.push_back({s.at("task"),
                       {s.at("score"), error, s.at("samples")},
                       s.at("unrest"),
                       name == kNames.end() ? Standing::kTooHard : static_cast<Standing>(name - kNames.begin())});
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: the screening kept in it cannot be read: {}", study.path(), error.what());
  }
  return tasks;
}

}  // namespace kvpareto
