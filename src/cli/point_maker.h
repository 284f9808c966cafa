#pragma once
// Points of choices, and what they take: the functions of a model's search space (search/space.h).

#include <map>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/weight_plan.h"
#include "search/space.h"

namespace kvpareto {

// Axes by their part:
//   "scheme"            whole KV schemes; or "keys" and "values", one axis each or one a layer, and "windows"
//   "weights"           whole schemes of weights; or, beside "table" (embedding and head: "16", "8", "4"), linears: one
//                       axis, one a kind, or one a kind of each layer, layer by layer ("w4g128")
//   "chunk"             tokens of a prefill step
class PointMaker {
 public:
  // Checkpoint and backend must outlive it. `most_bytes`: 0 if there is no limit.
  PointMaker(const std::vector<Axis>& axes, const Checkpoint& checkpoint, const ModelShape& shape,
             const Backend& backend, int context, double most_bytes);

  Made make(const Choices& choices) const;
  double bytes(const Point& point) const;
  const ModelShape& shape() const { return shape_; }

 private:
  const std::string& chosen(const std::string& part, const Choices& choices, size_t place = 0) const;
  std::string scheme_text(const Choices& choices) const;
  std::string weights_text(const Choices& choices) const;
  const WeightPlan& plan_of(const std::string& weights) const;

  std::vector<Axis> axes_;
  std::map<std::string, std::vector<size_t>> parts_;  // axes of each
  const Checkpoint& checkpoint_;
  ModelShape shape_;
  const Backend& backend_;
  int context_;
  double most_bytes_;
  mutable std::map<std::string, WeightPlan> plans_;  // by the text of the scheme
};

// Texts of sides ("4g64") as a scheme, and a window ("recent128.sink4") behind it.
std::string base_text(const std::string& keys, const std::string& values);
std::string with_window(const std::string& scheme, const std::string& window);

}  // namespace kvpareto
