#include "checkpoint/formats/hf_vocabulary.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace kvpareto {
namespace {

using nlohmann::json;

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// bos_token and eos_token: the token's text, or an object that describes it.
std::string token_text(const json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return "";
}

// A template, or several by name, of which "default" is for plain chats.
std::string chat_template(const json& config, const std::string& path) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) fail("{}: chat_template should be a string or a list of templates", path);
  for (const json& entry : *found) {
    if (entry.is_object() && entry.value("name", json()) == "default" && entry.value("template", json()).is_string()) {
      return entry["template"].get<std::string>();
    }
  }
  fail("{}: chat_template has none that is named default", path);
}

void read_tokenizer_config(const std::string& path, VocabularyData& data) {
  const json config = parse_json(read_file(path), path);
  if (!config.is_object()) fail("{}: no JSON object", path);
  data.chat_template = chat_template(config, path);
  data.beginning_text = token_text(config, "bos_token");
  data.end_text = token_text(config, "eos_token");
  if (const auto adds = config.find("add_bos_token"); adds != config.end() && adds->is_boolean()) {
    data.adds_beginning = adds->get<bool>();
  }
}

}  // namespace

VocabularyData read_hf_vocabulary(const std::string& folder, const HfConfig& config) {
  VocabularyData data;
  const std::string json_path = folder + "/tokenizer.json";
  if (!exists(json_path)) {
    const bool sentencepiece = exists(folder + "/tokenizer.model");
    fail("{}: has no tokenizer.json{}", folder,
         sentencepiece ? ", only tokenizer.model: transformers' AutoTokenizer(...).save_pretrained writes one" : "");
  }
  data.tokenizer_json = read_file(json_path);
  if (exists(folder + "/tokenizer_config.json")) read_tokenizer_config(folder + "/tokenizer_config.json", data);
  if (exists(folder + "/chat_template.jinja")) data.chat_template = read_file(folder + "/chat_template.jinja");
  data.ends = config.ends;
  data.beginning = config.beginning;
  const std::string generation = folder + "/generation_config.json";
  if (exists(generation)) {
    const EndTokens more = parse_end_tokens(read_file(generation), generation);
    data.ends.insert(data.ends.end(), more.ends.begin(), more.ends.end());
  }
  return data;
}

}  // namespace kvpareto
