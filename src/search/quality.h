#pragma once
// What a point will lose, guessed from what others lost, and how sure the guess is.
//
// Model: loss = s * sum over effects of t, one effect for every layer and side (and the weights) that is not at 16
// bits;
//   log t = part + family of the part + slope of the part * (bits - 4) + choice
//           + kind of layer + layer, both under the family + slope of the layer * (bits - 4)
//   log s = the sum of the scales' logarithms (windows, chunk, on how much it was measured) + what is the point's own
// Additive over layers and sides as measured (docs/METHODS.md); every term is a number with a normal prior, so that
// what was never measured is guessed from its like, with a wide error, and what was measured on little from that.
// Among the effects is one of no scheme: any change, however small, is carried through the layers behind it by their
// rounding to bf16, and does not add up (measured on Qwen2.5-0.5B: int8 values of the first layer alone lose 1.5e-4
// nats/token, of the last alone .2e-4, falling evenly; of all layers 2e-4).
// An effect on all layers together is one term, unless layers were measured alone: then it is the sum of theirs.
// Measurements of the same model in other regimes (other texts or lengths) tell of the same terms, less surely. The
// posterior is found by Gauss-Newton on the logarithm of the loss (Laplace approximation: MacKay 1992).

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "search/space.h"
#include "study/measurement.h"

namespace kvpareto {

struct Guess {
  double log_loss = 0;   // natural logarithm of nats/token
  double deviation = 0;  // of it, standard deviation; that of a measurement's own noise not included
};

class Quality {
 public:
  using Describe = std::function<Description(const Point&)>;
  // `texts`: how many a whole measurement has; guesses are of those.
  Quality(Describe describe, int texts) : describe_(std::move(describe)), texts_(texts) {}

  // From these measurements alone; those that failed or lost nothing say nothing. `elsewhere`: of other regimes.
  void fit(std::span<const Measurement> measurements, std::span<const Measurement> elsewhere = {});
  Guess guess(const Point& point);
  // The loss that these effects add, on their own; `draw` adds a draw from the posterior of their sum, if given.
  double loss_of(std::span<const Effect> effects, Random* draw = nullptr);

 private:
  struct Term {
    double prior, deviation;  // of the prior
    double value;
  };
  using Terms = std::vector<std::pair<int, double>>;  // with their factors
  struct Part {                                       // of a loss, its logarithm: terms and what is known
    Terms terms;
    double known = 0;
  };
  struct Row {
    std::vector<Part> parts;
    std::vector<int> scales;
  };
  struct Observation {
    Row row;
    double log_loss, deviation;
  };

  // None of a measurement that says nothing.
  std::optional<Observation> observe(const Measurement& measurement);
  void note_layers(std::span<const Measurement> measurements);

  int term(const std::string& name, double prior, double deviation);
  Terms terms_of(const Effect& effect);
  void add(Row& row, const Effect& effect);
  Row row_of(const Description& description);
  double log_of(const Part& part) const;
  // log loss, and its derivative by every term (sparse).
  double evaluate(const Row& row, std::map<int, double>& slope) const;
  double step(std::span<const Observation> observations);
  void find_covariance(std::span<const Observation> observations);
  double variance(const std::map<int, double>& slope) const;

  Describe describe_;
  int texts_;
  std::map<std::string, int> names_;
  std::map<std::string, Effect> layers_;  // of the parts that were measured layer by layer: some effect on one
  std::vector<Term> terms_;
  std::vector<double> covariance_;  // [fitted, fitted] of the terms that were known when it was found
  size_t fitted_ = 0;
};

}  // namespace kvpareto
