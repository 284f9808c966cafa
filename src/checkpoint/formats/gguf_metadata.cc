#include "checkpoint/formats/gguf_metadata.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/error.h"

namespace kvpareto {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF v3 is read as it stands, little-endian");

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Calls visit(value) with the number at `bytes` in its own type. Returns false for strings and arrays.
template <typename Visit>
bool visit_number(GgufType type, const uint8_t* bytes, Visit visit) {
  switch (type) {
    case GgufType::kU8:
      return visit(load<uint8_t>(bytes)), true;
    case GgufType::kI8:
      return visit(load<int8_t>(bytes)), true;
    case GgufType::kU16:
      return visit(load<uint16_t>(bytes)), true;
    case GgufType::kI16:
      return visit(load<int16_t>(bytes)), true;
    case GgufType::kU32:
      return visit(load<uint32_t>(bytes)), true;
    case GgufType::kI32:
      return visit(load<int32_t>(bytes)), true;
    case GgufType::kF32:
      return visit(load<float>(bytes)), true;
    case GgufType::kBool:
      return visit(static_cast<uint8_t>(load<uint8_t>(bytes) != 0)), true;
    case GgufType::kU64:
      return visit(load<uint64_t>(bytes)), true;
    case GgufType::kI64:
      return visit(load<int64_t>(bytes)), true;
    case GgufType::kF64:
      return visit(load<double>(bytes)), true;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return false;
}

// The string whose length and characters begin at `bytes`.
std::string_view text_at(const uint8_t* bytes) {
  return {reinterpret_cast<const char*>(bytes) + sizeof(uint64_t), load<uint64_t>(bytes)};
}

// One key of the tokenizer, converted; empty if the file lacks it, an Error if it is not what `wanted` says.
template <typename Convert>
auto tokenizer_value(std::span<const GgufValue> values, const std::string& path, std::string_view key,
                     std::string_view wanted, Convert convert) -> decltype(convert(values[0])) {
  const GgufValue* value = find_value(values, key);
  if (value == nullptr) return std::nullopt;
  auto converted = convert(*value);
  if (!converted) {
    fail("{}: metadata {} should be {}, found {}{}", path, key, wanted, value->is_array ? "an array of " : "",
         name_of(value->type));
  }
  return converted;
}

}  // namespace

int64_t bytes_of(GgufType type) {
  constexpr uint8_t number[sizeof(uint64_t)] = {};
  int64_t bytes = 0;
  visit_number(type, number, [&](auto value) { bytes = sizeof value; });
  return bytes;
}

std::string name_of(GgufType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  const uint32_t number = static_cast<uint32_t>(type);
  return number < std::size(kNames) ? kNames[number] : fmt::format("type number {}", number);
}

std::optional<double> as_number(const GgufValue& value) {
  if (value.is_array) return std::nullopt;
  double number = std::numeric_limits<double>::quiet_NaN();
  visit_number(value.type, value.bytes.data(), [&](auto found) { number = static_cast<double>(found); });
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

std::optional<std::string> as_text(const GgufValue& value) {
  if (value.is_array || value.type != GgufType::kString) return std::nullopt;
  return std::string(text_at(value.bytes.data()));
}

std::optional<std::vector<std::string>> as_texts(const GgufValue& value) {
  if (!value.is_array || value.type != GgufType::kString) return std::nullopt;
  std::vector<std::string> texts;
  texts.reserve(value.count);  // no more than the file has bytes: each string is at least its length
  const uint8_t* next = value.bytes.data();
  for (uint64_t i = 0; i < value.count; ++i) {
    const std::string_view text = text_at(next);
    texts.emplace_back(text);
    next += sizeof(uint64_t) + text.size();
  }
  return texts;
}

std::optional<std::vector<int32_t>> as_integers(const GgufValue& value) {
  const int64_t size = bytes_of(value.type);
  if (!value.is_array || size == 0) return std::nullopt;
  std::vector<int32_t> integers;
  integers.reserve(value.count);
  bool fits = true;
  for (uint64_t i = 0; i < value.count && fits; ++i) {
    visit_number(value.type, value.bytes.data() + i * static_cast<uint64_t>(size), [&](auto number) {
      if constexpr (std::is_integral_v<decltype(number)>) {
        fits = std::in_range<int32_t>(number);
        integers.push_back(static_cast<int32_t>(number));
      } else {
        fits = false;
      }
    });
  }
  if (!fits) return std::nullopt;
  return integers;
}

std::optional<std::vector<float>> as_floats(const GgufValue& value) {
  if (!value.is_array || value.type != GgufType::kF32) return std::nullopt;
  std::vector<float> floats(value.count);
  if (value.count > 0) std::memcpy(floats.data(), value.bytes.data(), value.count * sizeof(float));
  return floats;
}

const GgufValue* find_value(std::span<const GgufValue> values, std::string_view key) {
  const auto found = std::ranges::lower_bound(values, key, {}, &GgufValue::key);
  return found != values.end() && found->key == key ? &*found : nullptr;
}

VocabularyData read_vocabulary(std::span<const GgufValue> values, const std::string& path) {
  const auto text = [&](std::string_view key) {
    return tokenizer_value(values, path, key, "a string", as_text).value_or("");
  };
  const auto texts = [&](std::string_view key) {
    return tokenizer_value(values, path, key, "an array of strings", as_texts).value_or(std::vector<std::string>());
  };

  VocabularyData data;
  data.model = text("tokenizer.ggml.model");
  data.pre_tokenizer = text("tokenizer.ggml.pre");
  data.chat_template = text("tokenizer.chat_template");
  data.tokens = texts("tokenizer.ggml.tokens");
  data.merges = texts("tokenizer.ggml.merges");
  data.token_types =
      tokenizer_value(values, path, "tokenizer.ggml.token_type", "an array of 32-bit integers", as_integers)
          .value_or(std::vector<int32_t>());
  data.scores = tokenizer_value(values, path, "tokenizer.ggml.scores", "an array of f32", as_floats)
                    .value_or(std::vector<float>());
  if (!data.token_types.empty() && data.token_types.size() != data.tokens.size()) {
    fail("{}: tokenizer.ggml.token_type has {} entries for {} tokens", path, data.token_types.size(),
         data.tokens.size());
  }

  const auto token = [&](std::string_view key) -> std::optional<int32_t> {
    const std::optional<double> id = tokenizer_value(values, path, key, "a token's number", as_number);
    if (!id) return std::nullopt;
    if (*id < 0 || *id >= static_cast<double>(data.tokens.size()) || *id != std::floor(*id)) {
      fail("{}: metadata {} is {}, wanted a token from 0 to {}", path, key, *id,
           static_cast<int64_t>(data.tokens.size()) - 1);
    }
    return static_cast<int32_t>(*id);
  };
  data.beginning = token("tokenizer.ggml.bos_token_id");
  data.end = token("tokenizer.ggml.eos_token_id");
  data.padding = token("tokenizer.ggml.padding_token_id");
  data.unknown = token("tokenizer.ggml.unknown_token_id");
  const auto flag = [&](std::string_view key) -> std::optional<bool> {
    const std::optional<double> value = tokenizer_value(values, path, key, "true or false", as_number);
    return value ? std::optional(*value != 0) : std::nullopt;
  };
  data.adds_beginning = flag("tokenizer.ggml.add_bos_token");
  data.add_space = flag("tokenizer.ggml.add_space_prefix").value_or(true);
  return data;
}

}  // namespace kvpareto
