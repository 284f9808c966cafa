#include "text/tokenizer_json.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "text/piece_alphabet.h"
#include "text/unicode.h"

namespace kvpareto {
namespace {

using nlohmann::json;

constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
constexpr int64_t kMostTokens = 1 << 24;
constexpr size_t kLongestPattern = 4096;

class Reader {
 public:
  Reader(const json& file, const std::string& path) : file_(file), path_(path) {}

  Vocabulary read() {
    if (!file_.is_object()) fail("{}: no JSON object", path_);
    const json& model = part("model");
    if (!model.is_object()) fail("{}: has no model", path_);
    read_tokens(model);
    read_added_tokens();
    fill_gaps();
    read_merges(model);
    TextRules rules;
    normalize(part("normalizer"), rules);
    cut(part("pre_tokenizer"), rules);
    vocabulary_.model = byte_level_ ? "gpt2" : "llama";
    if (!byte_level_ && rules.space.empty())
      fail("{}: neither ByteLevel nor a character for spaces: not supported", path_);
    rules.whole_words = flag(model, "ignore_merges", false);
    vocabulary_.rules = std::move(rules);
    read_beginning(part("post_processor"));
    return std::move(vocabulary_);
  }

 private:
  // Null if it is missing.
  const json& part(const char* name) const {
    static const json kNothing;
    const auto found = file_.find(name);
    return found == file_.end() ? kNothing : *found;
  }
  std::string text(const json& object, const char* name) const {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
  }
  static bool flag(const json& object, const char* name, bool fallback) {
    const auto found = object.find(name);
    return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
  }
  [[noreturn]] void unsupported(const char* what, const json& found) const {
    fail("{}: {} {} is not supported", path_, what, quoted_name(found.dump(-1, ' ', true)));
  }

  int32_t id_of(const json& value, std::string_view token) const {
    if (value.is_number_integer() && value >= 0 && value < kMostTokens) return value.get<int32_t>();
    fail("{}: token {} has the id {}", path_, quoted_name(token), quoted_name(value.dump(-1, ' ', true)));
  }

  void place(int32_t id, const std::string& token, int32_t type) {
    const auto at = static_cast<size_t>(id);
    if (at >= vocabulary_.tokens.size()) {
      vocabulary_.tokens.resize(at + 1);
      vocabulary_.token_types.resize(at + 1, 0);
    }
    if (vocabulary_.token_types[at] != 0 && vocabulary_.tokens[at] != token) {
      fail("{}: tokens {} and {} both have the id {}", path_, quoted_name(vocabulary_.tokens[at]), quoted_name(token),
           id);
    }
    vocabulary_.tokens[at] = token;
    vocabulary_.token_types[at] = type;
  }

  void read_tokens(const json& model) {
    const std::string type = model.contains("type") ? text(model, "type") : "BPE";
    if (type != "BPE") fail("{}: tokenizer model {} is not supported; known is BPE", path_, quoted_name(type));
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!text(model, name).empty()) fail("{}: {} is not supported", path_, name);
    }
    const auto tokens = model.find("vocab");
    if (tokens == model.end() || !tokens->is_object() || tokens->empty())
      fail("{}: model.vocab is no object of tokens", path_);
    const int64_t most = static_cast<int64_t>(tokens->size()) * 2 + 65536;
    fallback_ = flag(model, "byte_fallback", false);
    for (const auto& [token, value] : tokens->items()) {
      const int32_t id = id_of(value, token);
      if (id > most) fail("{}: token {} has the id {} among {} tokens", path_, quoted_name(token), id, tokens->size());
      place(id, token, fallback_ && byte_of_piece(token) ? kByte : kNormal);
    }
    const std::string unknown = text(model, "unk_token");
    if (const auto found = tokens->find(unknown); !unknown.empty() && found != tokens->end()) {
      vocabulary_.unknown = found->get<int32_t>();
    }
  }

  void read_added_tokens() {
    const json& added = part("added_tokens");
    if (!added.is_array() && !added.is_null()) fail("{}: added_tokens is no list", path_);
    const int64_t most = static_cast<int64_t>(vocabulary_.tokens.size() + added.size()) * 2 + 65536;
    const json& known = file_["model"]["vocab"];
    for (const json& entry : added) {
      const std::string token = text(entry, "content");
      if (token.empty() || !entry.contains("id")) fail("{}: an added token has no content or id", path_);
      const int32_t id = id_of(entry["id"], token);
      if (id > most) fail("{}: token {} has the id {} among {} tokens", path_, quoted_name(token), id, most);
      if (const auto same = known.find(token); same != known.end() && *same != id) {
        fail("{}: token {} has the ids {} and {}", path_, quoted_name(token), same->get<int32_t>(), id);
      }
      if (flag(entry, "single_word", false)) vocabulary_.single_word.insert(id);
      if (flag(entry, "lstrip", false)) vocabulary_.strip_left.insert(id);
      if (flag(entry, "rstrip", false)) vocabulary_.strip_right.insert(id);
      normalized_ |= flag(entry, "normalized", false);
      place(id, token, flag(entry, "special", false) ? kControl : kUserDefined);
    }
  }

  // Ids that no token has; models are often made larger than their vocabulary.
  void fill_gaps() {
    for (size_t id = 0; id < vocabulary_.tokens.size(); ++id) {
      if (vocabulary_.token_types[id] == 0) place(static_cast<int32_t>(id), fmt::format("[PAD{}]", id), kUnused);
    }
  }

  // "left right", or [left, right] as newer versions write it.
  void read_merges(const json& model) {
    const auto merges = model.find("merges");
    if (merges == model.end() || !merges->is_array()) fail("{}: model.merges is no list", path_);
    vocabulary_.merges.reserve(merges->size());
    for (const json& merge : *merges) {
      const bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
      if (!merge.is_string() && !pair) fail("{}: a merge is {}", path_, quoted_name(merge.dump(-1, ' ', true)));
      vocabulary_.merges.push_back(pair ? merge[0].get_ref<const std::string&>() + " " +
                                              merge[1].get_ref<const std::string&>()
                                        : merge.get<std::string>());
    }
  }

  void normalize(const json& step, TextRules& rules) {
    if (step.is_null()) return;
    const std::string type = text(step, "type");
    if (type == "Sequence") {
      each(step, "normalizers", "normalizer", [&](const json& inner) { normalize(inner, rules); });
    } else if (type == "NFC" && rules.space.empty()) {
      rules.compose = true;
    } else if (type == "Prepend" && text(step, "prepend") == kPieceSpace && rules.space.empty()) {
      rules.prefix = Prefix::kEveryPiece;
      if (normalized_) fail("{}: added tokens that are normalized, together with Prepend, are not supported", path_);
    } else if (type == "Replace" && step.value("pattern", json()) == json{{"String", " "}} &&
               text(step, "content") == kPieceSpace) {
      rules.space = kPieceSpace;
    } else {
      unsupported("normalizer", step);
    }
  }

  void cut(const json& step, TextRules& rules) {
    if (step.is_null()) return;
    const std::string type = text(step, "type");
    if (type == "Sequence") {
      each(step, "pretokenizers", "pre-tokenizer", [&](const json& inner) { cut(inner, rules); });
    } else if (type == "ByteLevel" && !flag(step, "add_prefix_space", true)) {
      byte_level_ = true;
      if (flag(step, "use_regex", true)) rules.patterns.emplace_back(gpt2_pattern());
    } else if (type == "Digits") {
      rules.patterns.emplace_back(flag(step, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
    } else if (type == "Split" && text(step, "behavior") == "Isolated" && !flag(step, "invert", false)) {
      rules.patterns.push_back(pattern_of(step));
    } else if (type == "Metaspace" && text(step, "replacement") == kPieceSpace) {
      read_metaspace(step, rules);
    } else {
      unsupported("pre-tokenizer", step);
    }
  }

  std::string pattern_of(const json& step) const {
    const json pattern = step.value("pattern", json());
    const std::string regex = text(pattern, "Regex"), literal = text(pattern, "String");
    if (regex.empty() == literal.empty() || regex.size() + literal.size() > kLongestPattern)
      unsupported("pattern", pattern);
    if (!regex.empty()) return pcre2_pattern(regex);
    std::string escaped;
    for (const char c : literal) {
      if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0) escaped += '\\';
      escaped += c;
    }
    return escaped;
  }

  void read_metaspace(const json& step, TextRules& rules) {
    rules.space = kPieceSpace;
    std::string scheme = text(step, "prepend_scheme");
    if (scheme.empty()) scheme = flag(step, "add_prefix_space", true) ? "always" : "never";
    if (scheme == "first") {
      rules.prefix = Prefix::kFirst;
    } else if (scheme == "always") {
      rules.prefix = Prefix::kUnlessThere;
    } else if (scheme != "never") {
      unsupported("pre-tokenizer", step);
    }
    // A word begins at every space.
    if (flag(step, "split", true)) rules.patterns.push_back(fmt::format("{0}[^{0}]*", kPieceSpace));
  }

  template <typename Visit>
  void each(const json& sequence, const char* list, const char* what, Visit visit) const {
    const auto steps = sequence.find(list);
    if (steps == sequence.end() || !steps->is_array()) unsupported(what, sequence);
    for (const json& step : *steps) visit(step);
  }

  // TemplateProcessing that begins a single text with a control token, alone or in a sequence.
  void read_beginning(const json& step) {
    const std::string type = text(step, "type");
    if (type == "Sequence")
      each(step, "processors", "post-processor", [&](const json& inner) { read_beginning(inner); });
    if (type != "TemplateProcessing") return;
    const json single = step.value("single", json());
    if (!single.is_array() || single.empty() || !single[0].is_object() || !single[0].contains("SpecialToken")) return;
    const std::string token = text(single[0]["SpecialToken"], "id");
    const auto found = std::find(vocabulary_.tokens.begin(), vocabulary_.tokens.end(), token);
    if (found == vocabulary_.tokens.end())
      fail("{}: texts begin with {}, which is no token", path_, quoted_name(token));
    vocabulary_.beginning = static_cast<int32_t>(found - vocabulary_.tokens.begin());
    vocabulary_.add_beginning = true;
  }

  const json& file_;
  const std::string& path_;
  Vocabulary vocabulary_;
  bool byte_level_ = false, fallback_ = false, normalized_ = false;
};

}  // namespace

Vocabulary parse_tokenizer_json(std::string_view text, const std::string& path) {
  const json file = parse_json(text, path);
  return Reader(file, path).read();
}

}  // namespace kvpareto
