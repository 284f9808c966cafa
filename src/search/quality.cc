#include "search/quality.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

// Priors, wide enough to be told otherwise by one measurement. Losses fall by a factor of 4 a bit where rounding is all
// there is (its variance does); what is measured here falls a little slower at the low end.
constexpr double kUsualLoss = 0.03;  // nats/token of a part at 4 bits in all layers
constexpr double kPartDeviation = 2.5, kFamilyDeviation = 1.0, kChoiceDeviation = 0.5, kKindDeviation = 1.0,
                 kLayerDeviation = 1.0;
constexpr double kSlope = -1.3, kSlopeDeviation = 0.4;
// A layer that stands out at few bits does less at more (one of Qwen2.5-0.5B's had 21 % of the keys' loss at 2 bits and
// 5 % at 3): what 2 bits tell counts for three quarters at 4.
constexpr double kLayerSlopeDeviation = 0.3;
constexpr double kScaleDeviation = 0.5, kTextsDeviation = 0.3, kElsewhereDeviation = 0.7;
// What the sum leaves out: interactions. An independent run found them to be a few per cent, up to 20 % at 2 bits.
constexpr double kModelDeviation = 0.08;
// Keeps whole measurements from being taken for exact.
constexpr double kRounding = 0.01;
// How much one text favours some points over others; on shortened texts; in another regime.
constexpr double kOneText = 0.12, kShortText = 0.15, kOtherRegime = 0.2;
// Divergence that the rounding of all layers' activations leaves after any change [nats/token]; far less where they
// are f32. What is left of it between points.
constexpr double kCarried = 1e-4, kCarriedDeviation = 2.5, kNoise = 2e-5;

// In place: the lower triangle L of a = L L^T, a positive definite [n, n]. Row by row, so that memory is read in order.
void cholesky(std::vector<double>& a, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double* row = &a[i * n];
      const double* other = &a[j * n];
      const double left = row[j] - std::inner_product(row, row + j, other, 0.0);
      a[i * n + j] = i == j ? std::sqrt(left) : left / other[j];
    }
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

Quality::Terms Quality::terms_of(const Effect& effect) {
  const std::string& part = effect.part;
  Terms terms = {
      {term(part, std::log(kUsualLoss), kPartDeviation), 1},
      {term(part + " slope", kSlope, kSlopeDeviation), effect.bits - 4},
      {term(part + " family " + effect.family, 0, kFamilyDeviation), 1},
      {term(part + " choice " + effect.choice, 0, kChoiceDeviation), 1},
  };
  if (effect.layers > 1) {
    const std::string name = part + " layer " + std::to_string(effect.layer) + " of " + effect.family;
    terms.push_back({term(name, -std::log(effect.layers), kLayerDeviation), 1});
    if (effect.kinds > 1) {
      const std::string kind = part + " kind " + std::to_string(effect.layer % effect.kinds) + " of " + effect.family;
      terms.push_back({term(kind, 0, kKindDeviation), 1});
    }
    terms.push_back({term(name + " slope", 0, kLayerSlopeDeviation), effect.bits - 4});
  }
  return terms;
}

void Quality::add(Row& row, const Effect& effect) {
  const auto layers = layers_.find(effect.part);
  if (effect.layers > 1 || layers == layers_.end()) {
    row.parts.push_back({terms_of(effect)});
    return;
  }
  Effect one = effect;
  one.layers = layers->second.layers;
  one.kinds = layers->second.kinds;
  for (one.layer = 0; one.layer < one.layers; ++one.layer) row.parts.push_back({terms_of(one)});
}

// Layers that are alike are told apart only where some measurement tells of them alone.
void Quality::note_layers(std::span<const Measurement> measurements) {
  for (const Measurement& m : measurements) {
    if (m.state != State::kDone) continue;
    for (const Effect& effect : describe_(m.point).effects) {
      if (effect.layers > 1) layers_[effect.part] = effect;
    }
  }
}

Quality::Row Quality::row_of(const Description& description) {
  Row row;
  double carried = 0;  // through which share of the layers
  for (const Effect& effect : description.effects) {
    add(row, effect);
    carried = std::max(carried, 1 - static_cast<double>(effect.layer) / effect.layers);
  }
  if (carried > 0) {
    row.parts.push_back({{{term("carried", std::log(kCarried), kCarriedDeviation), 1}}, std::log(carried)});
  }
  for (const std::string& scale : description.scales) row.scales.push_back(term("scale " + scale, 0, kScaleDeviation));
  return row;
}

double Quality::log_of(const Part& part) const {
  double sum = part.known;
  for (const auto& [index, factor] : part.terms) sum += factor * terms_[static_cast<size_t>(index)].value;
  return sum;
}

double Quality::evaluate(const Row& row, std::map<int, double>& slope) const {
  std::vector<double> logs;
  for (const Part& part : row.parts) logs.push_back(log_of(part));
  const double most = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  for (const double log : logs) sum += std::exp(log - most);
  for (size_t i = 0; i < logs.size(); ++i) {
    const double share = std::exp(logs[i] - most) / sum;
    for (const auto& [index, factor] : row.parts[i].terms) slope[index] += share * factor;
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

std::optional<Quality::Observation> Quality::observe(const Measurement& m) {
  const auto found = m.values.find("kld_mean");
  if (m.state != State::kDone || found == m.values.end()) return {};
  const double loss = found->second.value;
  const Description description = describe_(m.point);
  if (description.effects.empty() || !std::isfinite(loss) || loss <= kNoise / 10) return {};
  return Observation{row_of(description), std::log(loss), kNoise / loss};
}

void Quality::fit(std::span<const Measurement> measurements, std::span<const Measurement> elsewhere) {
  names_.clear();
  terms_.clear();
  layers_.clear();
  note_layers(measurements);
  note_layers(elsewhere);
  std::vector<Observation> observations;
  for (const Measurement& m : measurements) {
    auto o = observe(m);
    if (!o) continue;
    o->row.scales.push_back(term("point " + to_text(m.point), 0, kModelDeviation));
    const int texts = m.regime.texts;
    // The texts are the same ones for every point: their own difficulty is a scale, and what is left of the error
    // between texts is far less than the standard error.
    double blur = kShortText;
    if (texts > 0) blur = texts < texts_ ? kOneText * std::sqrt(1.0 / texts - 1.0 / texts_) : 0;
    if (texts < texts_) o->row.scales.push_back(term("texts " + std::to_string(texts), 0, kTextsDeviation));
    o->deviation = std::hypot(o->deviation, blur, kRounding);
    observations.push_back(std::move(*o));
  }
  for (const Measurement& m : elsewhere) {
    auto o = observe(m);
    if (!o) continue;
    o->row.scales.push_back(term("regime " + regime_key(m.regime), 0, kElsewhereDeviation));
    o->deviation = std::hypot(o->deviation, kModelDeviation, kOtherRegime);
    observations.push_back(std::move(*o));
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

Guess Quality::guess(const Point& point) {
  Row row = row_of(describe_(point));
  if (row.parts.empty()) return {std::log(kNoise), 0};
  const auto own = names_.find("point " + to_text(point));
  if (own != names_.end()) row.scales.push_back(own->second);
  std::map<int, double> slope;
  const double log_loss = evaluate(row, slope);
  const double unknown = own == names_.end() ? kModelDeviation : 0;
  return {log_loss, std::sqrt(variance(slope) + unknown * unknown)};
}

double Quality::loss_of(std::span<const Effect> effects, Random* draw) {
  if (effects.empty()) return 0;
  Row row;
  for (const Effect& effect : effects) add(row, effect);
  std::map<int, double> slope;
  double log_loss = evaluate(row, slope);
  if (draw != nullptr) log_loss += std::sqrt(variance(slope)) * draw->normal();
  return std::exp(log_loss);
}

}  // namespace kvpareto
