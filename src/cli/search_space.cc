#include "cli/search_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "kv/catalogue.h"

namespace kvpareto {
namespace {

constexpr int kBaselineChunk = 256;

struct Bits {
  int k, v;
};

struct Preset {
  const char* name;
  std::vector<std::string> first;  // schemes that tell most, by text or name in the catalogue
  std::vector<Bits> bits;          // with the first of the groups that fits the model
  std::vector<std::string> groups;
  std::vector<Bits> bits_of_other_groups;
  std::vector<int> chunks;
};

// Keys and values alike first, then fewer bits for values (which bear it), then the rest: a search that is cut short
// has seen the shape of the frontier.
const std::vector<Bits> kAllBits = {{16, 16}, {8, 8}, {4, 4},  {8, 4},  {2, 2},  {4, 2},  {8, 2}, {3, 3}, {4, 3},
                                    {8, 3},   {3, 2}, {16, 4}, {16, 8}, {16, 2}, {16, 3}, {4, 8}, {2, 4}, {3, 4},
                                    {2, 3},   {2, 8}, {3, 8},  {8, 16}, {4, 16}, {3, 16}, {2, 16}};

// To add a preset: an entry.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> list = {
      // What everybody has at 8 and 4 bits, then what this program finds at the bits of the latter and below.
      {"demo",
       {"k8v8g64", "k4v4g64", "best-5", "best-4", "k8v4g64", "best-3", "k2v2g64", "kivi-4"},
       {kAllBits.begin(), kAllBits.begin() + 16},
       {"64", "32"},
       {{4, 4}, {3, 3}, {4, 2}, {2, 2}},
       {256, 128, 1024}},
      {"grid",
       {"best-5", "best-4", "best-3", "kivi-4", "kivi-2", "pre-4", "bias-free-8"},
       kAllBits,
       {"64", "32", "128"},
       kAllBits,
       {256, 128, 512, 1024}},
  };
  return list;
}

const Preset& find_preset(const std::string& name) {
  return *std::find_if(presets().begin(), presets().end(), [&](const Preset& preset) { return preset.name == name; });
}

std::vector<Bits> product(const std::vector<int>& k_bits, const std::vector<int>& v_bits) {
  const auto listed = [](const std::vector<int>& list, int bits) {
    return list.empty() || std::find(list.begin(), list.end(), bits) != list.end();
  };
  std::vector<Bits> chosen;
  for (const Bits& bits : kAllBits) {
    if (listed(k_bits, bits.k) && listed(v_bits, bits.v)) chosen.push_back(bits);
  }
  return chosen;
}

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.push_back(preset.name);
  return names;
}

Space make_space(const SpaceOptions& options, const ModelShape& shape) {
  const Preset& preset = find_preset(options.preset);
  const bool own_bits = !options.k_bits.empty() || !options.v_bits.empty(), own_groups = !options.groups.empty();
  const std::vector<std::string>& groups = own_groups ? options.groups : preset.groups;
  Space space;
  space.kv = {"k16v16"};
  for (const std::string& text : own_bits || own_groups ? std::vector<std::string>() : preset.first) {
    const KvScheme scheme = find_scheme(text);
    if (why_invalid(scheme, shape.layers, shape.head_dim, shape.qkv_bias).empty()) add_once(space.kv, to_text(scheme));
  }
  bool first = true;
  for (const std::string& group : groups) {
    const std::string problem =
        why_invalid(parse_scheme("k8v8g" + group), shape.layers, shape.head_dim, shape.qkv_bias);
    if (!problem.empty() && own_groups) fail_usage("--groups {}: {}", group, problem);
    if (!problem.empty()) continue;
    std::vector<Bits> bits = first ? preset.bits : preset.bits_of_other_groups;
    if (own_bits) bits = product(options.k_bits, options.v_bits);
    for (const Bits& pair : bits) {
      add_once(space.kv, to_text(parse_scheme(fmt::format("k{}v{}g{}", pair.k, pair.v, group))));
    }
    first = false;
  }
  space.chunks = {kBaselineChunk};
  for (const int chunk : options.chunks.empty() ? preset.chunks : options.chunks) {
    if (std::find(space.chunks.begin(), space.chunks.end(), chunk) == space.chunks.end()) space.chunks.push_back(chunk);
  }
  return space;
}

}  // namespace kvpareto
