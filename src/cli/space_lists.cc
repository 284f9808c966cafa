#include "cli/space_lists.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace kvpareto {
namespace {

using Strings = std::vector<std::string>;

// Keys and values alike first, then fewer bits for values (which bear it), then the rest: a search that is cut short
// has seen the shape of the frontier.
const Strings kAllPairs = {"k16v16", "k8v8", "k4v4",  "k8v4",  "k2v2",  "k4v2",  "k8v2", "k3v3", "k4v3",
                           "k8v3",   "k3v2", "k16v4", "k16v8", "k16v2", "k16v3", "k4v8", "k2v4", "k3v4",
                           "k2v3",   "k2v8", "k3v8",  "k8v16", "k4v16", "k3v16", "k2v16"};

// Every pair with every group, the first group's first.
Strings product(const Strings& pairs, const Strings& groups) {
  Strings schemes;
  for (const std::string& group : groups) {
    for (const std::string& pair : pairs) schemes.push_back(pair == "k16v16" ? pair : pair + group);
  }
  return schemes;
}

Strings joined(std::initializer_list<Strings> lists) {
  Strings all;
  for (const Strings& list : lists) {
    for (const std::string& text : list) {
      if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(text);
    }
  }
  return all;
}

// What everybody has at 8 and 4 bits, then what this program finds at the bits of the latter and below.
const Strings kDemo = {"k8v8g64", "k4v4g64", "best-5", "best-4", "k8v4g64", "best-3", "k2v2g64", "kivi-4"};
const Strings kNamed = {"best-5", "best-4", "best-3", "kivi-4", "kivi-2", "pre-4", "bias-free-8"};
// One good family a side: what docs/SCHEMES.md found best at every number of bits.
const Strings kBestKeys = {"16", "8t64.pre", "4t64.pre", "3t64.pre.fit", "2t64.pre.fit"};
const Strings kBestWeights = {"w16", "w8g128e8", "w4g128e8"};
const Strings kLinears = {"w16", "w8g128", "w4g32", "w4g128", "w3g128"};
const Strings kTables = {"16", "8", "4"};
const Strings kLinearsPer = {"model", "kind", "layer"};
const Strings kBestValues = {"16", "8g64", "4g64.had", "3g64.had.fit", "2g64.had.fit"};
// With smaller and larger groups, which move half a bit and a quarter between layers: without them no search beat int4
// in all layers (bench/results/2026-11-27-per-layer-qwen2.5-coder-0.5b.md).
const Strings kLayerKeys = {"16",        "8t64.pre",     "4t32.pre",     "4t64.pre",
                            "4t128.pre", "3t32.pre.fit", "3t64.pre.fit", "2t64.pre.fit"};
const Strings kLayerValues = {"16", "8g64", "4g32.had", "4g64.had", "3g32.had.fit", "3g64.had.fit", "2g64.had.fit"};

}  // namespace

const std::vector<std::string>& all_pairs() { return kAllPairs; }

const std::vector<std::string>& paper_pairs() {
  static const Strings pairs = {"k16v16", "k8v8", "k8v4", "k8v2", "k4v4", "k4v2", "k2v2"};
  return pairs;
}

const std::vector<SpacePreset>& space_presets() {
  static const std::vector<SpacePreset> list = {
      {"quick",
       "the best families of keys and values, 16 to 2 bits, with and without an exact window; weights of 16, 8, 4 bits",
       {.schemes = {},
        .keys = kBestKeys,
        .values = kBestValues,
        .windows = {"", "recent128.sink4"},
        .weights = kBestWeights,
        .chunks = {256, 128, 512}},
       12},
      {"per-layer",
       "the same families in groups of several sizes, and bits of each kind of linear, chosen for every layer by "
       "itself",
       {.schemes = {},
        .keys = kLayerKeys,
        .values = kLayerValues,
        .per_layer = true,
        .windows = {"", "recent128.sink4"},
        .linears = kLinears,
        .linears_per = "layer",
        .embedding = kTables,
        .chunks = {256, 128, 512}}},
      {"full",
       "all that this program knows for keys and values, in all layers alike; bits of each kind of linear and of the "
       "embedding",
       {.schemes = {},
        .keys = {"16",           "8g32",         "8g64",          "8gh",       "8t64.pre", "8.pre.bias",
                 "4g32",         "4g64",         "4g32.had",      "4g32.mean", "4b64x32",  "4t32",
                 "4t64",         "4t32.pre",     "4t64.pre",      "4t128.pre", "3g32.had", "3t32",
                 "3t32.pre.fit", "3t64.pre.fit", "3t128.pre.fit", "2g32",      "2t32",     "2t32.pre.fit",
                 "2t64.pre.fit", "2t128.pre.fit"},
        .values = {"16", "8g32", "8g64", "8gh", "4g32", "4g64", "4gh", "4g32.had", "4g64.had", "4gh.had", "3g32",
                   "3g32.had.fit", "3g64.had.fit", "2g32", "2g32.had.fit", "2g64.had.fit"},
        .windows = {"", "sink4", "recent64.sink4", "recent128.sink4"},
        .linears = kLinears,
        .linears_per = "kind",
        .embedding = kTables,
        .chunks = {256, 64, 128, 512, 1024}}},
      {"paper",
       "the grid of KV Pareto (arXiv 2512.01953): seven pairs of bits, every granularity, weights of 16 bits and AWQ's "
       "4",
       {.schemes = product(paper_pairs(), {"g64", "g32", "g128", "t32", "t64", "t128", "b64x32", "p"}),
        .keys = {},
        .values = {},
        .weights = {"w16", "w4g128.awq"},
        .chunks = {256, 64, 1024}}},
      {"demo",
       "a few that tell most, within minutes",
       {.schemes = joined({{"k16v16"},
                           kDemo,
                           product({kAllPairs.begin(), kAllPairs.begin() + 16}, {"g64"}),
                           product({"k4v4", "k3v3", "k4v2", "k2v2"}, {"g32"})}),
        .keys = {},
        .values = {},
        .chunks = {256, 128, 1024}}},
      {"grid",
       "every pair of bits at three group sizes, and the named schemes",
       {.schemes = joined({{"k16v16"}, kNamed, product(kAllPairs, {"g64", "g32", "g128"})}),
        .keys = {},
        .values = {},
        .chunks = {256, 128, 512, 1024}}},
  };
  return list;
}

std::vector<std::string> preset_names() {
  Strings names;
  for (const SpacePreset& preset : space_presets()) names.push_back(preset.name);
  return names;
}

double usual_evaluations(const std::string& name) {
  for (const SpacePreset& preset : space_presets()) {
    if (preset.name == name) return preset.evaluations;
  }
  return 0;
}

namespace {

[[noreturn]] void wrong(const std::string& path, const toml::node& node, const std::string& what) {
  fail_usage("{}, line {}: {}", path, node.source().begin.line, what);
}

template <typename Value>
std::vector<Value> read_list(const std::string& path, std::string_view key, const toml::node& node, const char* kind) {
  const toml::array* array = node.as_array();
  if (array == nullptr || array->empty()) wrong(path, node, fmt::format("{}: wanted a list of {}", key, kind));
  std::vector<Value> list;
  for (const toml::node& element : *array) {
    const auto value = element.value_exact<std::conditional_t<std::is_same_v<Value, int>, int64_t, Value>>();
    if (!value) wrong(path, element, fmt::format("{}: wanted a list of {}", key, kind));
    if constexpr (std::is_same_v<Value, int>) {
      if (*value < 1 || *value > 65536)
        wrong(path, element, fmt::format("{}: wanted 1 to 65536, found {}", key, *value));
      list.push_back(static_cast<int>(*value));
    } else {
      list.push_back(*value);
    }
  }
  return list;
}

SpaceLists read_toml(const std::string& path) {
  const std::string text = read_file(path);
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    fail_usage("{}, line {}: {}", path, error.source().begin.line, error.description());
  }
  SpaceLists lists;
  const std::map<std::string, Strings*> texts = {{"schemes", &lists.schemes},    {"keys", &lists.keys},
                                                 {"values", &lists.values},      {"windows", &lists.windows},
                                                 {"weights", &lists.weights},    {"linears", &lists.linears},
                                                 {"embedding", &lists.embedding}};
  Strings known = {"per_layer", "linears_per", "chunks"};
  for (const auto& [name, list] : texts) known.push_back(name);
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (const auto found = texts.find(name); found != texts.end()) {
      *found->second = read_list<std::string>(path, name, node, "texts");
    } else if (name == "chunks") {
      lists.chunks = read_list<int>(path, name, node, "numbers");
    } else if (name == "linears_per") {
      const std::string value = node.value_exact<std::string>().value_or("");
      if (std::find(kLinearsPer.begin(), kLinearsPer.end(), value) == kLinearsPer.end()) {
        wrong(path, node, fmt::format("linears_per: wanted one of \"{}\"", join(kLinearsPer, "\", \"")));
      }
      lists.linears_per = value;
    } else if (name == "per_layer") {
      const auto value = node.value_exact<bool>();
      if (!value) wrong(path, node, "per_layer: wanted true or false");
      lists.per_layer = *value;
    } else {
      wrong(path, node,
            fmt::format("'{}': wanted one of {}; the nearest is {}", name, join(known, ", "), nearest(name, known)));
    }
  }
  if (lists.schemes.empty() && (lists.keys.empty() || lists.values.empty())) {
    fail_usage("{}: wanted 'schemes', or 'keys' and 'values', found neither", path);
  }
  if (!lists.schemes.empty() && (!lists.keys.empty() || !lists.values.empty() || lists.per_layer)) {
    fail_usage("{}: wanted 'schemes' or sides ('keys', 'values', 'per_layer'), found both", path);
  }
  if (table.contains("weights") && table.contains("linears")) {
    fail_usage("{}: wanted whole schemes of 'weights' or 'linears', found both", path);
  }
  if (!table.contains("linears") && (table.contains("linears_per") || table.contains("embedding"))) {
    fail_usage("{}: wanted 'linears' beside 'linears_per' and 'embedding', found none", path);
  }
  return lists;
}

}  // namespace

SpaceLists read_space_lists(const std::string& name) {
  if (name.ends_with(".toml")) return read_toml(name);
  const auto& presets = space_presets();
  const auto found = std::find_if(presets.begin(), presets.end(), [&](const SpacePreset& p) { return p.name == name; });
  if (found == presets.end()) {
    fail_usage("search space '{}': wanted a file ending in .toml or one of {}; the nearest is {}", name,
               join(preset_names(), ", "), nearest(name, preset_names()));
  }
  return found->lists;
}

}  // namespace kvpareto
