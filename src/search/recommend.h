#pragma once
// Which point answers a question: the most accurate that fits, the cheapest that is accurate enough, or the best trade.

#include <optional>
#include <span>

#include "search/front.h"
#include "study/measurement.h"

namespace kvpareto {

// What an answer must keep to. An estimate keeps to a limit if its whole 95 % interval does.
struct Limits {
  double max_loss = 0.1;  // nats/token of divergence
  double most_bytes = 0;  // peak; 0: any
  double max_drop = 0;    // of the tasks' scores against the baseline, paired by sample; 0: any
  double min_speed = 0;   // decoded tokens/s; 0: any
};

enum class Goal {
  kKnee,         // the front's knee; if it does not keep to the limits, the cheapest member that does
  kBestQuality,  // the least divergence; of those whose paired interval ends below a tenth more, the cheapest
  kLeastMemory,  // the cheapest
};

// How much lower a measurement's task scores are than the baseline's, a mean over all samples of all tasks that both
// answered; no samples if there are none.
Estimate task_drop(const Measurement& baseline, const Measurement& m);

bool keeps_to(const Limits& limits, const Measurement& m, const Measurement* baseline);

// An index into the measurements, a member of their front; none if nothing keeps to the limits. `baseline` may be null:
// then nothing keeps to a limit of drop.
std::optional<size_t> recommend(std::span<const Measurement> measurements, const Front& front, const Limits& limits,
                                Goal goal, const Measurement* baseline);

}  // namespace kvpareto
