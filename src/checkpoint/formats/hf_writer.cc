#include "checkpoint/formats/hf_writer.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "checkpoint/formats/hf_folder.h"
#include "checkpoint/formats/hf_tokenizer_json.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Architecture {
  std::string_view model_type, class_name;
};
constexpr Architecture kArchitectures[] = {{"llama", "LlamaForCausalLM"},
                                           {"mistral", "MistralForCausalLM"},
                                           {"qwen2", "Qwen2ForCausalLM"},
                                           {"qwen3", "Qwen3ForCausalLM"}};
// Files of a folder that say nothing of its weights.
constexpr const char* kCopied[] = {"tokenizer.json",
                                   "tokenizer_config.json",
                                   "generation_config.json",
                                   "special_tokens_map.json",
                                   "chat_template.jinja",
                                   "tokenizer.model",
                                   "vocab.json",
                                   "merges.txt",
                                   "added_tokens.json"};

// Whole numbers without a fraction, as transformers wants sizes.
json as_json(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value))) return static_cast<int64_t>(value);
  return value;
}

json rope_scaling(const Checkpoint& file) {
  const std::string kind = file.text("rope.scaling.type").value_or("none");
  if (kind == "none" || kind.empty()) return nullptr;
  json scaling = {{"rope_type", kind}};
  if (const auto factor = file.number("rope.scaling.factor")) scaling["factor"] = as_json(*factor);
  if (const auto context = file.number("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = as_json(*context);
  }
  return scaling;
}

json config_of_metadata(const Checkpoint& file) {
  const std::string type = file.architecture();
  const auto known = std::ranges::find(kArchitectures, type, &Architecture::model_type);
  if (known == std::end(kArchitectures))
    fail("{}: no Hugging Face class is known for architecture '{}'", file.path(), type);
  const TensorInfo& embedding = *file.find("token_embd.weight");
  const auto number = [&](std::string_view key) { return as_json(file.number(key).value_or(0)); };
  json config = {
      {"model_type", type},
      {"architectures", {known->class_name}},
      {"hidden_act", "silu"},
      {"num_hidden_layers", number("block_count")},
      {"hidden_size", number("embedding_length")},
      {"intermediate_size", number("feed_forward_length")},
      {"num_attention_heads", number("attention.head_count")},
      {"num_key_value_heads",
       as_json(file.number("attention.head_count_kv").value_or(file.number("attention.head_count").value_or(0)))},
      {"max_position_embeddings", number("context_length")},
      {"rms_norm_eps", file.number("attention.layer_norm_rms_epsilon").value_or(1e-5)},
      {"rope_theta", as_json(file.number("rope.freq_base").value_or(10000))},
      {"vocab_size", embedding.rows()},
      {"tie_word_embeddings", file.find("output.weight") == nullptr},
      {"use_cache", true}};
  if (type == "llama" || type == "mistral" || type == "qwen3") config["attention_bias"] = false;
  if (type == "llama") config["mlp_bias"] = false;
  if (type.starts_with("qwen")) config["use_sliding_window"] = false;
  if (type == "mistral") config["sliding_window"] = nullptr;
  if (const auto head = file.number("attention.key_length")) config["head_dim"] = as_json(*head);
  if (const json scaling = rope_scaling(file); !scaling.is_null()) config["rope_scaling"] = scaling;
  const VocabularyData vocabulary = file.vocabulary();
  if (vocabulary.beginning) config["bos_token_id"] = *vocabulary.beginning;
  if (vocabulary.end) config["eos_token_id"] = *vocabulary.end;
  return config;
}

void write_json(const std::string& path, const json& value) { write_file(path, value.dump(2) + "\n"); }

}  // namespace

json hf_config_of(const Checkpoint& checkpoint, const std::string& data_type) {
  json config;
  if (is_hf_folder(checkpoint.path())) {
    const std::string path = checkpoint.path() + "/config.json";
    config = parse_json(read_file(path), path);
    config.erase("quantization_config");
    config.erase("dtype");  // torch_dtype's name from transformers 5 on
  } else {
    config = config_of_metadata(checkpoint);
  }
  config["torch_dtype"] = data_type;
  return config;
}

void write_hf_tokenizer(const Checkpoint& checkpoint, const std::string& folder) {
  if (is_hf_folder(checkpoint.path())) {
    for (const char* name : kCopied) {
      const std::string from = checkpoint.path() + "/" + name;
      std::error_code ignored;
      if (fs::is_regular_file(from, ignored)) write_file(folder + "/" + name, read_file(from));
    }
    return;
  }
  const VocabularyData vocabulary = checkpoint.vocabulary();
  write_file(folder + "/tokenizer.json", tokenizer_json_of(vocabulary, checkpoint.path()).dump() + "\n");
  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"model_max_length", as_json(checkpoint.number("context_length").value_or(0))}};
  const auto name_token = [&](const char* name, const std::optional<int32_t>& id) {
    if (id && static_cast<size_t>(*id) < vocabulary.tokens.size())
      config[name] = vocabulary.tokens[static_cast<size_t>(*id)];
  };
  name_token("bos_token", vocabulary.beginning);
  name_token("eos_token", vocabulary.end);
  name_token("pad_token", vocabulary.padding);
  if (vocabulary.adds_beginning) config["add_bos_token"] = *vocabulary.adds_beginning;
  if (!vocabulary.chat_template.empty()) config["chat_template"] = vocabulary.chat_template;
  write_json(folder + "/tokenizer_config.json", config);
  if (vocabulary.end) write_json(folder + "/generation_config.json", {{"eos_token_id", *vocabulary.end}});
}

}  // namespace kvpareto
