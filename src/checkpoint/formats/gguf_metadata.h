#pragma once
// Metadata values of a GGUF file, left in the file's bytes until they are asked for. The parser has checked that a
// value lies whole inside the file; the functions here turn it into what a caller wants, or say that it is something
// else.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace kvpareto {

// GGUF's numbers of value types.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12
};

// Bytes of a number or a bool; 0 for strings, arrays and numbers that are no type.
int64_t bytes_of(GgufType type);
std::string name_of(GgufType type);

struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::kU8;  // of the elements if an array
  bool is_array = false;
  uint64_t count = 1;              // elements
  std::span<const uint8_t> bytes;  // the elements as they stand in the file
};

// Empty if the value is an array, no number (bools are 0 and 1) or not finite / no string.
std::optional<double> as_number(const GgufValue& value);
std::optional<std::string> as_text(const GgufValue& value);
// Empty if the value is no array of strings / of integers that fit 32 bits / of f32.
std::optional<std::vector<std::string>> as_texts(const GgufValue& value);
std::optional<std::vector<int32_t>> as_integers(const GgufValue& value);
std::optional<std::vector<float>> as_floats(const GgufValue& value);

// The value of this key, null if there is none. `values` sorted by key.
const GgufValue* find_value(std::span<const GgufValue> values, std::string_view key);

// The tokenizer's part. Throws Error (kFailure) where a value has a wrong type or contradicts another.
VocabularyData read_vocabulary(std::span<const GgufValue> values, const std::string& path);

}  // namespace kvpareto
