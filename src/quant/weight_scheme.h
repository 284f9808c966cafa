#pragma once
// How the weights of a model are held, as data: printable, comparable, parsed back.
//
//   w4g128e8                          int4 linears in groups of 128, int8 output head, and embedding if it is the same
//   w4g128,down:w8g128,0-1:w8g64      more bits for one kind of linear, and for two layers
//   w4g128.a16                        activations are never rounded to int8 for the products
//   stored                            every tensor as the GGUF file holds it
//
//   scheme  := linears [ "e" table ] { "." option } { "," where ":" linears }
//   linears := "w" bits [ "g" group ] | "stored"      bits: 16 (bf16), 8, 4, 3; group: 128, 64, 32
//   table   := bits [ "g" group ] | "stored"          bits: 16, 8, 4
//   option  := "a16" | "a8" | "awq"
//   where   := layers [ "." kind ] | kind             layers: 7 or 0-3; kind: qkv, o, gateup, down
//
// Later changes win over earlier ones. To add an option: a member of WeightScheme and a line in weight_scheme.cc.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/weight_codec.h"

namespace kvpareto {

// Linears of one layer that share their input.
enum class LinearKind : uint8_t { kQkv, kOutput, kGateUp, kDown };
inline constexpr std::string_view kLinearKinds[] = {"qkv", "o", "gateup", "down"};

// What the input of a product is rounded to first: nothing (the backend's activation type), or int8 with a scale for 32
// neighbours. Products of bf16 weights always take the first.
enum class Activations : uint8_t { kFloat, kInt8 };
inline constexpr Activations kDefaultActivations = Activations::kInt8;

// Of one matrix before it is known: its codec and group, or whatever the file holds.
struct WeightChoice {
  bool stored = false;
  WeightFormat format;  // of no meaning if stored
  bool operator==(const WeightChoice& other) const {
    return stored == other.stored && (stored || format == other.format);
  }
};

struct WeightChange {
  std::optional<std::pair<int, int>> layers;  // first and last; all if empty
  std::optional<LinearKind> kind;             // all if empty
  WeightChoice choice;
  bool same_place(const WeightChange& other) const { return layers == other.layers && kind == other.kind; }
  bool operator==(const WeightChange&) const = default;
};

struct WeightScheme {
  WeightChoice linears;
  WeightChoice table;  // output head, and the embedding if it is the same matrix
  Activations activations = kDefaultActivations;
  bool awq = false;  // scaled by activations before rounding (AWQ, arXiv 2306.00978)
  std::vector<WeightChange> changes;

  const WeightChoice& at(int layer, LinearKind kind) const;
  bool operator==(const WeightScheme&) const = default;
};

std::string to_text(const WeightScheme& scheme);
std::string to_text(const WeightChoice& choice);  // "w4g128", "stored"
// Throws Error (kUsage) naming the part that is wrong and the nearest valid text.
WeightScheme parse_weights(std::string_view text);
// The texts of schemes between commas; a part with ':' is a change of the scheme before it.
std::vector<std::string> split_weights(std::string_view list);

}  // namespace kvpareto
