#include "search/verification.h"

#include <fmt/format.h>

#include <cmath>

#include "search/confidence.h"

namespace kvpareto {
namespace {

bool is_verified(const Measurement& m) { return m.state == State::kDone && m.values.contains(kHeldOut); }

// The held-out texts in place of the search's own, so that what compares divergences compares these.
Measurement held_out(const Measurement& m) {
  Measurement other;
  other.point = m.point;
  other.values = {{"peak_bytes", m.values.at("peak_bytes")}, {"kld_mean", m.values.at(kHeldOut)}};
  const auto texts = m.texts.find(kHeldOut);
  if (texts != m.texts.end()) other.texts["kld_mean"] = texts->second;
  return other;
}

}  // namespace

std::vector<std::string> failed_verification(std::span<const Measurement> measurements, double max_loss) {
  std::vector<std::string> reasons(measurements.size());
  std::vector<size_t> looked_at;
  std::vector<Measurement> there;
  for (size_t i = 0; i < measurements.size(); ++i) {
    if (!is_verified(measurements[i])) continue;
    looked_at.push_back(i);
    there.push_back(held_out(measurements[i]));
  }
  for (size_t a = 0; a < there.size(); ++a) {
    const double loss = there[a].value("kld_mean");
    if (loss_interval(there[a]).low > max_loss && measurements[looked_at[a]].value("kld_mean") <= max_loss) {
      reasons[looked_at[a]] = fmt::format("failed verification: {:.3g} nats/token on held-out text", loss);
    }
    for (size_t b = 0; b < there.size(); ++b) {
      const bool cheaper = there[b].value("peak_bytes") < there[a].value("peak_bytes");
      if (!cheaper || errors_apart(there[b], there[a]) <= kBeyondError) continue;
      reasons[looked_at[a]] =
          fmt::format("failed verification: beaten on held-out text by {}, which takes less", to_text(there[b].point));
    }
  }
  return reasons;
}

std::vector<Measurement> verified(std::vector<Measurement> measurements, double max_loss) {
  const std::vector<std::string> reasons = failed_verification(measurements, max_loss);
  for (size_t i = 0; i < measurements.size(); ++i) {
    if (reasons[i].empty()) continue;
    measurements[i].state = State::kFailed;
    measurements[i].reason = reasons[i];
  }
  return measurements;
}

}  // namespace kvpareto
