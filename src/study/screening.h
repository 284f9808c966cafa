#pragma once
// Which tasks a model can do: only those can show what a cache costs.

#include <optional>
#include <string>
#include <vector>

#include "study/study.h"

namespace kvpareto {

// A score that cannot fall cannot tell; one that moves under rounding tells nothing.
inline constexpr double kLeastRoom = 0.05;   // above chance, at the lower end of the 95 % interval
inline constexpr double kMostUnrest = 0.10;  // mean change of a sample's mark under a cache that loses nearly nothing

enum class Standing {
  kUsable,
  kUnclear,   // above chance, but more samples are needed to be sure
  kUnstable,  // marks move though hardly anything was lost
  kTooHard    // not above chance
};
std::string to_text(Standing standing);

struct Screened {
  std::string task;
  Estimate score;
  double unrest = 0;
  Standing standing = Standing::kTooHard;
};

// Every task that both have samples of: `exact` with a 16-bit cache, `nearly` with one that loses nearly nothing.
// Perplexity is always usable: it has no chance level.
std::vector<Screened> screen(const Measurement& exact, const Measurement& nearly);

// Kept in a study for the model with this fingerprint (Regime::model_hash); a later screening of a task takes the place
// of the earlier one.
void keep_screening(Study& study, const std::string& model_hash, const std::vector<Screened>& tasks);
std::vector<Screened> kept_screening(const Study& study, const std::string& model_hash);

}  // namespace kvpareto
