#include "checkpoint/formats/hf_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace kvpareto {
namespace {

using nlohmann::json;

struct Renamed {
  std::string_view theirs, ours;
};
constexpr Renamed kNumbers[] = {
    {"num_hidden_layers", "block_count"},
    {"hidden_size", "embedding_length"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"intermediate_size", "feed_forward_length"},
    {"max_position_embeddings", "context_length"},
    {"rope_theta", "rope.freq_base"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
};
// Of rope_scaling, or of rope_parameters as transformers writes it from version 5 on.
constexpr Renamed kRopeNumbers[] = {
    {"rope_theta", "rope.freq_base"},
    {"factor", "rope.scaling.factor"},
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
    {"low_freq_factor", "rope.scaling.low_freq_factor"},
    {"high_freq_factor", "rope.scaling.high_freq_factor"},
    {"beta_fast", "rope.scaling.yarn_beta_fast"},
    {"beta_slow", "rope.scaling.yarn_beta_slow"},
    {"attention_factor", "rope.scaling.attn_factor"},
};
constexpr Renamed kOutside[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr Renamed kInLayer[] = {{"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
                                {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
                                {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
                                {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
                                {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
                                {"mlp.down_proj", "ffn_down"}};

// The member of this name; null if it is missing or null, which Hugging Face takes for the same.
const json* member(const json& object, std::string_view name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

class Reader {
 public:
  Reader(const json& config, const std::string& path) : config_(config), path_(path) {}

  std::optional<double> number(const json& object, std::string_view name) const {
    const json* value = member(object, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number() || !std::isfinite(value->get<double>())) wrong(name, "a number", *value);
    return value->get<double>();
  }
  std::optional<std::string> text(const json& object, std::string_view name) const {
    const json* value = member(object, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) wrong(name, "a string", *value);
    return value->get<std::string>();
  }
  bool flag(std::string_view name, bool fallback) const {
    const json* value = member(config_, name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) wrong(name, "true or false", *value);
    return value->get<bool>();
  }
  const json* object(std::string_view name) const {
    const json* value = member(config_, name);
    if (value != nullptr && !value->is_object()) wrong(name, "an object", *value);
    return value;
  }
  std::optional<int32_t> token(const json& value, std::string_view name) const {
    if (!value.is_number_integer() || value < 0 || value > std::numeric_limits<int32_t>::max())
      wrong(name, "a token", value);
    return value.get<int32_t>();
  }
  EndTokens end_tokens() const {
    EndTokens tokens;
    if (const json* end = member(config_, "eos_token_id")) {
      if (!end->is_array()) tokens.ends.push_back(*token(*end, "eos_token_id"));
      for (size_t i = 0; end->is_array() && i < end->size(); ++i)
        tokens.ends.push_back(*token((*end)[i], "eos_token_id"));
    }
    if (const json* begin = member(config_, "bos_token_id")) tokens.beginning = token(*begin, "bos_token_id");
    return tokens;
  }
  const json& config() const { return config_; }
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void wrong(std::string_view name, std::string_view wanted, const json& found) const {
    fail("{}: {} should be {}, found {}", path_, name, wanted, quoted_name(found.dump(-1, ' ', true)));
  }
  const json& config_;
  const std::string& path_;
};

void read_rope(const Reader& reader, HfConfig& config) {
  const json* rope = reader.object("rope_parameters");
  if (rope == nullptr) rope = reader.object("rope_scaling");
  if (rope == nullptr) return;
  std::string kind = reader.text(*rope, "rope_type").value_or(reader.text(*rope, "type").value_or("default"));
  if (kind == "default") kind = "none";
  config.texts["rope.scaling.type"] = kind;
  for (const auto& [name, value] : rope->items()) {
    if (name == "rope_type" || name == "type" || value.is_null()) continue;
    const auto known = std::ranges::find(kRopeNumbers, name, &Renamed::theirs);
    if (known == std::end(kRopeNumbers)) {
      fail("{}: RoPE scaling with {} is not supported", reader.path(), quoted_name(name));
    }
    config.numbers[std::string(known->ours)] = *reader.number(*rope, name);
  }
}

// Layers that see a window of the newest tokens alone.
void read_window(const Reader& reader, HfConfig& config) {
  const std::optional<double> window = reader.number(reader.config(), "sliding_window");
  if (!window) return;
  bool used = config.architecture == "mistral" || reader.flag("use_sliding_window", false);
  if (const json* kinds = member(reader.config(), "layer_types"); kinds != nullptr && kinds->is_array()) {
    used = std::ranges::any_of(*kinds, [](const json& kind) { return kind == "sliding_attention"; });
  }
  if (used) config.numbers["attention.sliding_window"] = *window;
}

std::optional<WeightFormat> format_of(const std::string& text) {
  for (const WeightCodec codec : {WeightCodec::kInt8, WeightCodec::kInt4, WeightCodec::kInt3}) {
    for (const int group : {32, 64, 128}) {
      if (text == fmt::format("{}g{}", info_of(codec).name, group)) return WeightFormat{codec, group};
    }
  }
  return std::nullopt;
}

// This program's own layout: a format for every quantized matrix.
void read_formats(const Reader& reader, const json& quantization, HfConfig& config) {
  const std::string& path = reader.path();
  if (reader.number(quantization, "version").value_or(0) != 1) fail("{}: weights of another version of kvpareto", path);
  const json* formats = member(quantization, "formats");
  if (formats == nullptr || !formats->is_object()) fail("{}: quantization_config has no formats", path);
  for (const auto& [name, text] : formats->items()) {
    const auto format = text.is_string() ? format_of(text.get<std::string>()) : std::nullopt;
    if (text.is_string() && text == "w16") continue;
    if (!format) {
      fail("{}: {} should be w8, w4 or w3 in groups of 128, 64 or 32, found {}", path, quoted_name(name),
           quoted_name(text.dump(-1, ' ', true)));
    }
    const std::string ours = gguf_tensor_name(name + ".weight");
    config.formats[ours.substr(0, ours.rfind('.'))] = *format;
  }
}

void read_quantization(const Reader& reader, HfConfig& config) {
  const json* quantization = reader.object("quantization_config");
  if (quantization == nullptr) return;
  const std::string& path = reader.path();
  const std::string method = reader.text(*quantization, "quant_method").value_or("");
  if (method == "kvpareto") return read_formats(reader, *quantization, config);
  if (method != "awq")
    fail("{}: quantized with {}; this program reads awq and unquantized weights", path, quoted_name(method));
  const std::string version = reader.text(*quantization, "version").value_or("gemm");
  if (version != "gemm" && version != "GEMM")
    fail("{}: AWQ packing {}; this program reads gemm", path, quoted_name(version));
  const double bits = reader.number(*quantization, "bits").value_or(4);
  const double group = reader.number(*quantization, "group_size").value_or(128);
  if (bits != 4) fail("{}: AWQ with {} bits; this program reads 4", path, bits);
  if (group != 32 && group != 64 && group != 128)
    fail("{}: AWQ in groups of {}; this program reads 32, 64, 128", path, group);
  if (const json* zero = member(*quantization, "zero_point"); zero != nullptr && *zero != true) {
    fail("{}: AWQ without zero points is not supported", path);
  }
  config.awq = WeightFormat{WeightCodec::kInt4, static_cast<int>(group)};
}

void refuse_variants(const Reader& reader) {
  const std::string activation = reader.text(reader.config(), "hidden_act").value_or("silu");
  if (activation != "silu") fail("{}: activation {}; this program knows silu", reader.path(), quoted_name(activation));
  if (reader.number(reader.config(), "partial_rotary_factor").value_or(1) != 1) {
    fail("{}: rotation of a part of each head is not supported", reader.path());
  }
}

}  // namespace

HfConfig parse_hf_config(std::string_view text, const std::string& path) {
  const json parsed = parse_json(text, path);
  if (!parsed.is_object()) fail("{}: no JSON object", path);
  const Reader reader(parsed, path);
  HfConfig config;
  config.architecture = reader.text(parsed, "model_type").value_or("");
  const bool word = std::ranges::all_of(config.architecture, [](char c) { return c > ' ' && c < 0x7f; });
  if (config.architecture.empty() || !word || config.architecture.size() > 64) {
    fail("{}: model_type is missing or no word: {}", path, quoted_name(config.architecture));
  }
  for (const Renamed& name : kNumbers) {
    if (const auto value = reader.number(parsed, name.theirs)) config.numbers[std::string(name.ours)] = *value;
  }
  config.numbers.try_emplace("attention.layer_norm_rms_epsilon", 1e-6);  // transformers' default
  read_rope(reader, config);
  read_window(reader, config);
  read_quantization(reader, config);
  refuse_variants(reader);
  config.tied = reader.flag("tie_word_embeddings", false);
  const double vocabulary = reader.number(parsed, "vocab_size").value_or(0);
  if (vocabulary < 0 || vocabulary > (1 << 24))
    fail("{}: vocab_size should be 1 to {}, found {}", path, 1 << 24, vocabulary);
  config.vocabulary = static_cast<int64_t>(vocabulary);
  const EndTokens tokens = reader.end_tokens();
  config.ends = tokens.ends;
  config.beginning = tokens.beginning;
  return config;
}

EndTokens parse_end_tokens(std::string_view text, const std::string& path) {
  const json parsed = parse_json(text, path);
  if (!parsed.is_object()) fail("{}: no JSON object", path);
  return Reader(parsed, path).end_tokens();
}

std::string gguf_tensor_name(std::string_view name) {
  if (name.ends_with("rotary_emb.inv_freq")) return "";
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return std::string(name);
  std::string_view stem = name.substr(0, dot);
  const std::string_view suffix = name.substr(dot);  // ".weight"
  for (const Renamed& outside : kOutside) {
    if (stem == outside.theirs) return fmt::format("{}{}", outside.ours, suffix);
  }
  constexpr std::string_view kLayer = "model.layers.";
  if (!stem.starts_with(kLayer)) return std::string(name);
  stem.remove_prefix(kLayer.size());
  const auto layer = take_number(stem);
  if (!layer || !stem.starts_with('.')) return std::string(name);
  const auto found = std::ranges::find(kInLayer, stem.substr(1), &Renamed::theirs);
  if (found == std::end(kInLayer)) return std::string(name);
  return fmt::format("blk.{}.{}{}", *layer, found->ours, suffix);
}

std::string hf_tensor_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return std::string(name);
  std::string_view stem = name.substr(0, dot);
  const std::string_view suffix = name.substr(dot);
  for (const Renamed& outside : kOutside) {
    if (stem == outside.ours) return fmt::format("{}{}", outside.theirs, suffix);
  }
  constexpr std::string_view kBlock = "blk.";
  if (!stem.starts_with(kBlock)) return std::string(name);
  stem.remove_prefix(kBlock.size());
  const auto layer = take_number(stem);
  if (!layer || !stem.starts_with('.')) return std::string(name);
  const auto found = std::ranges::find(kInLayer, stem.substr(1), &Renamed::ours);
  if (found == std::end(kInLayer)) return std::string(name);
  return fmt::format("model.layers.{}.{}{}", *layer, found->theirs, suffix);
}

}  // namespace kvpareto
