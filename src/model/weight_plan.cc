#include "model/weight_plan.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace kvpareto {
namespace {

// The format of a tensor as the file holds it; bf16 for plain floats.
WeightFormat stored_format(const TensorInfo& info, const std::string& path) {
  if (info.storage == "F32" || info.storage == "F16" || info.storage == "BF16") return {};
  for (const WeightCodecInfo& codec : kWeightCodecs) {
    if (codec.name == info.storage && !is_grouped(codec.codec)) return {codec.codec, 0};
  }
  if (info.storage.starts_with("w")) return parse_weights(info.storage).linears.format;
  fail_usage("{}: {} is stored as {}, by which nothing can be multiplied as it is; the nearest weights are w4g32", path,
             info.name, info.storage);
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const WeightScheme& scheme) : checkpoint_(checkpoint) { plan_.scheme = scheme; }

  // Tensors one below the other; neighbours of one format are one part.
  PlannedLinear linear(const WeightChoice& choice, const std::vector<std::string>& names, bool bias) {
    PlannedLinear result;
    result.spec.bias = bias;
    result.spec.activations = plan_.scheme.activations;
    for (const std::string& name : names) {
      const TensorInfo& info = *checkpoint_.find(name + ".weight");
      const WeightFormat format = choice.stored ? stored_format(info, checkpoint_.path()) : fitted(choice.format, info);
      if (result.spec.parts.empty() || !(result.spec.parts.back().format == format)) {
        result.spec.parts.push_back({format, 0});
        result.tensors.emplace_back();
      }
      result.spec.parts.back().rows += info.rows();
      result.tensors.back().push_back(name);
      result.spec.columns = info.columns();
    }
    return result;
  }

  // The output head, whose high bits can be read alone where the format lets them.
  PlannedLinear head(const WeightChoice& choice, const std::string& name) {
    PlannedLinear result = linear(choice, {name}, false);
    WeightFormat& format = result.spec.parts.front().format;
    format = with_planes_apart(format);
    return result;
  }

  RowsPlace left_in_file(const std::string& name) const {
    const TensorInfo& info = *checkpoint_.find(name + ".weight");
    if (const std::optional<RowsPlace> place = checkpoint_.place(info)) return *place;
    fail_usage("{}: wanted {} in F32, F16, BF16 or a type of GGUF, found {}", checkpoint_.path(), info.name,
               info.storage);
  }

  WeightPlan finish() {
    for (const std::array<int64_t, 3>& change : changed_groups_) {
      plan_.notes.push_back(
          fmt::format("groups of {} do not divide {} columns: groups of {} there", change[0], change[1], change[2]));
    }
    return std::move(plan_);
  }
  WeightPlan& plan() { return plan_; }

 private:
  WeightFormat fitted(WeightFormat format, const TensorInfo& info) {
    if (!is_grouped(format.codec)) return format;
    for (int group = format.group; group >= 32; group /= 2) {
      if (info.columns() % group != 0) continue;
      if (group != format.group) changed_groups_.insert({format.group, info.columns(), group});
      return {format.codec, group};
    }
    fail_usage("{}: {} has {} columns, which groups of 128, 64 or 32 do not divide; the nearest weights are w16",
               checkpoint_.path(), info.name, info.columns());
  }

  const Checkpoint& checkpoint_;
  WeightPlan plan_;
  std::set<std::array<int64_t, 3>> changed_groups_;  // wanted, columns, taken
};

}  // namespace

std::vector<LinearSpec> WeightPlan::distinct() const {
  std::vector<LinearSpec> specs;
  const auto add = [&](const LinearSpec& spec) {
    if (std::find(specs.begin(), specs.end(), spec) == specs.end()) specs.push_back(spec);
  };
  add(head.spec);
  for (const PlannedLayer& layer : layers) {
    for (const PlannedLinear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) add(linear->spec);
  }
  return specs;
}

WeightPlan plan_weights(const Checkpoint& checkpoint, const ModelShape& shape, const WeightScheme& scheme) {
  for (const WeightChange& change : scheme.changes) {
    if (!change.layers || change.layers->second < shape.layers) continue;
    fail_usage("weights '{}': layer {} is beyond the model's last, {}", to_text(scheme), change.layers->second,
               shape.layers - 1);
  }
  Planner planner(checkpoint, scheme);
  WeightPlan& plan = planner.plan();
  plan.head = planner.head(scheme.table, shape.tied ? "token_embd" : "output");
  if (!shape.tied) plan.embedding = planner.left_in_file("token_embd");
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    const auto at = [&](LinearKind kind) { return scheme.at(layer, kind); };
    plan.layers.push_back(
        {planner.linear(at(LinearKind::kQkv), {block + "attn_q", block + "attn_k", block + "attn_v"}, shape.qkv_bias),
         planner.linear(at(LinearKind::kOutput), {block + "attn_output"}, false),
         planner.linear(at(LinearKind::kGateUp), {block + "ffn_gate", block + "ffn_up"}, false),
         planner.linear(at(LinearKind::kDown), {block + "ffn_down"}, false)});
  }
  return planner.finish();
}

size_t weights_bytes(const ModelShape& shape, const WeightPlan& plan, const Backend& backend) {
  const size_t norm = Backend::padded(static_cast<size_t>(shape.hidden) * sizeof(float));
  const size_t head_norm = Backend::padded(static_cast<size_t>(shape.head_dim) * sizeof(float));
  const size_t norms_of_heads = shape.query_key_norm ? 2 * head_norm * plan.layers.size() : 0;
  size_t sum = norm * (1 + 2 * plan.layers.size()) + norms_of_heads + backend.linear_bytes(plan.head.spec);
  for (const PlannedLayer& layer : plan.layers) {
    for (const PlannedLinear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      sum += backend.linear_bytes(linear->spec);
    }
  }
  return sum;
}

}  // namespace kvpareto
