#pragma once
// The lists a search space is made of, as texts: a preset of this program, or a file of the user's own.

#include <string>
#include <vector>

namespace kvpareto {

// Either whole schemes, or sides to be combined. What comes first is measured first where all is measured.
struct SpaceLists {
  std::vector<std::string> schemes;             // "k8v4g64", or names of the catalogue
  std::vector<std::string> keys, values;        // "16", "8g32", "4t64.pre"
  bool per_layer = false;                       // keys and values are chosen for every layer
  std::vector<std::string> windows = {""};      // "recent128.sink4"; empty: none
  std::vector<std::string> weights = {"w16"};   // whole schemes, if `linears` is empty
  std::vector<std::string> linears = {};        // "w4g128", chosen per
  std::string linears_per = "model";            //   "model", "kind" (qkv, o, gateup, down), or "layer" and kind
  std::vector<std::string> embedding = {"16"};  // of embedding and head, beside `linears`: "16", "8", "4"
  std::vector<int> chunks = {256};
};

struct SpacePreset {
  std::string name, description;  // one line
  SpaceLists lists;
  double evaluations = 0;  // whole measurements a search of it takes if not told; 0: till nothing is gained
};

// To add one: an entry in space_lists.cc.
const std::vector<SpacePreset>& space_presets();
std::vector<std::string> preset_names();
// SpacePreset::evaluations; 0 if there is no preset of that name.
double usual_evaluations(const std::string& name);

// A preset by its name, or a TOML file (a name that ends in .toml) with the members above as keys:
//   keys = ["16", "8g32", "4t64.pre"]
//   values = ["16", "4g64.had"]
//   per_layer = true
// Throws Error (kUsage): neither, with the nearest preset; a key that there is not; a value of the wrong kind, with its
// line.
SpaceLists read_space_lists(const std::string& name);

// Every pair of bits, in the order in which they tell most.
const std::vector<std::string>& all_pairs();
// Pairs of key and value bits of KV Pareto (arXiv 2512.01953), 16 bits first.
const std::vector<std::string>& paper_pairs();

}  // namespace kvpareto
