#include "search/quality.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "search/front.h"

namespace kvpareto {
namespace {

// Priors, wide enough to be told otherwise by one measurement. Losses fall by a factor of 4 a bit where rounding is all
// there is (its variance does); what is measured here falls a little slower at the low end.
constexpr double kUsualLoss = 0.03;  // nats/token of a part at 4 bits in all layers
constexpr double kPartDeviation = 2.5, kFamilyDeviation = 1.0, kChoiceDeviation = 0.5, kLayerDeviation = 1.0;
constexpr double kSlope = -1.3, kSlopeDeviation = 0.4;
constexpr double kScaleDeviation = 0.5, kTextsDeviation = 0.3;
// What the sum leaves out: interactions. An independent run found them to be a few per cent, up to 20 % at 2 bits.
constexpr double kModelDeviation = 0.08;
// Divergence that is rounding noise of the arithmetic [nats/token].
constexpr double kNoise = 1e-4;

// In place: the lower triangle L of a = L L^T, a positive definite [n, n].
void cholesky(std::vector<double>& a, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) {
      const double factor = a[j * n + k];
      if (factor == 0) continue;
      for (size_t i = j; i < n; ++i) a[i * n + j] -= a[i * n + k] * factor;
    }
    const double root = std::sqrt(a[j * n + j]);
    for (size_t i = j; i < n; ++i) a[i * n + j] /= root;
  }
}

void solve(const std::vector<double>& l, size_t n, std::vector<double>& x) {
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) x[i] -= l[i * n + k] * x[k];
    x[i] /= l[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    x[i] /= l[i * n + i];
    for (size_t k = 0; k < i; ++k) x[k] -= l[i * n + k] * x[i];
  }
}

}  // namespace

int Quality::term(const std::string& name, double prior, double deviation) {
  const auto [place, is_new] = names_.try_emplace(name, static_cast<int>(terms_.size()));
  if (is_new) terms_.push_back({prior, deviation, prior});
  return place->second;
}

std::vector<std::pair<int, double>> Quality::terms_of(const Effect& effect) {
  const auto layers = layers_.find(effect.part);
  const double share = layers == layers_.end() ? 1 : layers->second;
  const std::string& part = effect.part;
  std::vector<std::pair<int, double>> terms = {
      {term(part, std::log(kUsualLoss), kPartDeviation), 1},
      {term(part + " slope", kSlope, kSlopeDeviation), effect.bits - 4},
      {term(part + " family " + effect.family, 0, kFamilyDeviation), 1},
      {term(part + " choice " + effect.choice, 0, kChoiceDeviation), 1},
  };
  if (share > 1) {
    const std::string name = part + " layer " + std::to_string(effect.layer) + " of " + effect.family;
    terms.push_back({term(name, -std::log(share), kLayerDeviation), 1});
  }
  return terms;
}

Quality::Row Quality::row_of(const Description& description) {
  Row row;
  for (const Effect& effect : description.effects) row.effects.push_back(terms_of(effect));
  for (const std::string& scale : description.scales) row.scales.push_back(term("scale " + scale, 0, kScaleDeviation));
  return row;
}

double Quality::log_of(const std::vector<std::pair<int, double>>& effect) const {
  double sum = 0;
  for (const auto& [index, factor] : effect) sum += factor * terms_[static_cast<size_t>(index)].value;
  return sum;
}

double Quality::evaluate(const Row& row, std::map<int, double>& slope) const {
  std::vector<double> logs;
  for (const auto& effect : row.effects) logs.push_back(log_of(effect));
  const double most = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  for (const double log : logs) sum += std::exp(log - most);
  for (size_t i = 0; i < logs.size(); ++i) {
    const double share = std::exp(logs[i] - most) / sum;
    for (const auto& [index, factor] : row.effects[i]) slope[index] += share * factor;
  }
  double result = most + std::log(sum);
  for (const int scale : row.scales) {
    result += terms_[static_cast<size_t>(scale)].value;
    slope[scale] += 1;
  }
  return result;
}

// One step of Gauss-Newton towards the greatest posterior; returns the largest change of a term.
double Quality::step(std::span<const Observation> observations) {
  find_covariance(observations);  // leaves the Cholesky factor there
  const size_t n = terms_.size();
  std::vector<double> x(n, 0);
  for (size_t i = 0; i < n; ++i)
    x[i] = (terms_[i].prior - terms_[i].value) / (terms_[i].deviation * terms_[i].deviation);
  for (const Observation& o : observations) {
    std::map<int, double> slope;
    const double miss = (o.log_loss - evaluate(o.row, slope)) / (o.deviation * o.deviation);
    for (const auto& [index, factor] : slope) x[static_cast<size_t>(index)] += miss * factor;
  }
  solve(covariance_, n, x);
  double largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  const double damping = std::min(1.0, 2.0 / std::max(largest, 1e-12));  // the sum of exponentials is far from linear
  for (size_t i = 0; i < n; ++i) terms_[i].value += damping * x[i];
  return largest;
}

// The Cholesky factor of the inverse covariance.
void Quality::find_covariance(std::span<const Observation> observations) {
  const size_t n = terms_.size();
  covariance_.assign(n * n, 0);
  fitted_ = n;
  for (size_t i = 0; i < n; ++i) covariance_[i * n + i] = 1 / (terms_[i].deviation * terms_[i].deviation);
  for (const Observation& o : observations) {
    std::map<int, double> slope;
    evaluate(o.row, slope);
    const double weight = 1 / (o.deviation * o.deviation);
    for (const auto& [i, a] : slope) {
      for (const auto& [j, b] : slope) {
        if (j <= i) covariance_[static_cast<size_t>(i) * n + static_cast<size_t>(j)] += weight * a * b;
      }
    }
  }
  cholesky(covariance_, n);
}

void Quality::fit(std::span<const Measurement> measurements) {
  names_.clear();
  terms_.clear();
  layers_.clear();
  std::vector<Description> descriptions;
  for (const Measurement& m : measurements) {
    descriptions.push_back(m.state == State::kDone ? describe_(m.point) : Description());
    for (const Effect& effect : descriptions.back().effects) {
      int& layers = layers_[effect.part];
      layers = std::max(layers, effect.layer + 1);
    }
  }
  std::vector<Observation> observations;
  for (size_t i = 0; i < measurements.size(); ++i) {
    const auto found = measurements[i].values.find("kld_mean");
    if (descriptions[i].effects.empty() || found == measurements[i].values.end()) continue;
    const Estimate& loss = found->second;
    if (!std::isfinite(loss.value) || loss.value <= kNoise / 10) continue;
    Observation o{row_of(descriptions[i]), std::log(loss.value), 0};
    const int texts = measurements[i].regime.texts;
    if (texts != texts_) o.row.scales.push_back(term("texts " + std::to_string(texts), 0, kTextsDeviation));
    // The texts are the same ones for every point: their own difficulty is a scale, and what is left of the error
    // between texts is far less than the standard error.
    const double noise = kNoise / loss.value;
    const double few = texts < texts_ ? kModelDeviation : 0;
    o.deviation = std::sqrt(kModelDeviation * kModelDeviation + few * few + noise * noise);
    observations.push_back(std::move(o));
  }
  for (int round = 0; round < 40 && !observations.empty(); ++round) {
    if (step(observations) < 1e-3) break;
  }
  find_covariance(observations);
}

// slope^T C slope = |L^-1 slope|^2 for the terms that were fitted; new ones have their prior.
double Quality::variance(const std::map<int, double>& slope) const {
  double sum = 0;
  std::vector<double> x(fitted_, 0);
  for (const auto& [index, factor] : slope) {
    const auto i = static_cast<size_t>(index);
    if (i < fitted_) {
      x[i] = factor;
    } else {
      sum += factor * factor * terms_[i].deviation * terms_[i].deviation;
    }
  }
  const size_t first =
      static_cast<size_t>(std::find_if(x.begin(), x.end(), [](double v) { return v != 0; }) - x.begin());
  for (size_t i = first; i < fitted_; ++i) {
    double left = x[i];
    for (size_t k = first; k < i; ++k) left -= covariance_[i * fitted_ + k] * x[k];
    x[i] = left / covariance_[i * fitted_ + i];
    sum += x[i] * x[i];
  }
  return sum;
}

Guess Quality::guess(const Description& description) {
  const Row row = row_of(description);
  if (row.effects.empty()) return {std::log(kNoise), 0};
  std::map<int, double> slope;
  const double log_loss = evaluate(row, slope);
  return {log_loss, std::sqrt(variance(slope) + kModelDeviation * kModelDeviation)};
}

double Quality::effect_loss(const Effect& effect, Random* draw) {
  const auto terms = terms_of(effect);
  double log_loss = log_of(terms);
  if (draw != nullptr) {
    std::map<int, double> slope;
    for (const auto& [index, factor] : terms) slope[index] += factor;
    log_loss += std::sqrt(variance(slope)) * draw->normal();
  }
  return std::exp(log_loss);
}

}  // namespace kvpareto
