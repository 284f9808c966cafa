#include "cli/shared_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/output.h"
#include "eval/quantized_weights.h"
#include "kv/catalogue.h"

namespace kvpareto {

void ModelOptions::declare(Options& options) {
  options.text("-m,--model", "FILE", path, "the model: a GGUF file or a Hugging Face folder");
}

void ModelOptions::declare_machine(Options& options) {
  options.heading("Common options");
  options.integer("-t,--threads", threads, {1, 1024}, "threads to compute with [all of the machine's]");
  std::vector<std::string> names = backend_names();
  names.insert(names.begin(), "auto");
  options.choice("--backend", backend, names, "instruction set to compute with; auto is the best this machine has");
}

std::unique_ptr<Checkpoint> ModelOptions::open() const {
  if (path.empty()) {
    fail_usage("which model? -m FILE names it; 'tools/fetch_model.py smollm2-135m' fetches the demo model");
  }
  return open_checkpoint(path);
}

std::unique_ptr<Backend> ModelOptions::make() const {
  if (threads > 0) set_thread_count(threads);
  auto made = make_backend(backend);
  confine_libraries(backend);
  return made;
}

LoadedModel load(const ModelOptions& options) { return load(options, options.make()); }

LoadedModel load(const ModelOptions& options, std::unique_ptr<Backend> backend) {
  auto checkpoint = options.open();
  Tokenizer tokenizer = load_tokenizer(*checkpoint);
  // Made anew for each load, which begins at a smaller fraction than the last one ended with.
  struct Shown {
    std::unique_ptr<Progress> progress;
    std::chrono::steady_clock::time_point start;
    double fraction = 2;
  };
  const auto shown = std::make_shared<Shown>();
  auto models = std::make_unique<ModelShelf>(*checkpoint, *backend, [shown](double fraction) {
    stop_if_interrupted();
    const auto now = std::chrono::steady_clock::now();
    if (fraction < shown->fraction) *shown = {std::make_unique<Progress>("loading", 100, "%"), now, fraction};
    shown->fraction = fraction;
    // A model that is there within a second needs no progress.
    if (now - shown->start > std::chrono::seconds(1)) shown->progress->update(100 * fraction);
    if (fraction >= 1) *shown = {};
  });
  const char* data = std::getenv("KVPARETO_DATA");
  const int layers = models->shape().layers;
  models->set_maker(std::make_unique<QuantizedWeights>(
      *checkpoint, *backend, QuantizedPlace{default_cache_folder(), data == nullptr ? "" : data, options.calibration},
      [layers](const WeightScheme& scheme) {
        const auto progress =
            std::make_shared<Progress>(fmt::format("quantizing {}", to_text(scheme)), layers, "layers");
        return [=](double fraction, const std::string& what) { progress->update(fraction * layers, what); };
      }));
  // What is wrong with the file is told before any work.
  if (!options.calibration.empty()) models->calibration();
  return {std::move(checkpoint), std::move(backend), std::move(tokenizer), std::move(models)};
}

void ModelOptions::declare_calibration(Options& options) {
  options.text(
      "--calibration", "FILE", calibration,
      "what AWQ weights are fitted to: text, or JSON lines with a \"text\" each; self: text of many kinds that "
      "the model samples [the same, and for a third calibration/ of $KVPARETO_DATA if it is there]");
}

void WeightOptions::declare(Options& options) {
  options.list(
      "-w,--weights", "SCHEMES", weights,
      "how weights are held: w16 (bf16), w8g128, w4g128, w3g128 (round to nearest in groups of 128, 64 or 32), e8 or "
      "e4 behind it for the output head (and an embedding that is the same), down:w8 or 0-1:w8 for more bits in "
      "some; .awq: codes "
      "found with calibration text, once, and kept; stored: as in the file [w16; stored if the file holds codes]");
}

namespace {
// Whether the file holds matrices in codes of this program's own kind, which would only lose by being unpacked.
bool holds_codes(const Checkpoint& checkpoint) {
  return std::ranges::any_of(checkpoint.tensors(),
                             [](const TensorInfo& info) { return info.storage.starts_with('w'); });
}
}  // namespace

std::vector<WeightScheme> WeightOptions::schemes(const Checkpoint& checkpoint, const ModelShape& shape) const {
  std::vector<WeightScheme> schemes;
  const std::string usual = holds_codes(checkpoint) ? "stored" : "w16";
  for (const std::string& text : split_weights(weights.empty() ? usual : join(weights, ","))) {
    const WeightScheme scheme = parse_weights(text);
    if (std::find(schemes.begin(), schemes.end(), scheme) != schemes.end()) continue;
    for (const std::string& line : plan_weights(checkpoint, shape, scheme).notes) note("{}: {}", to_text(scheme), line);
    schemes.push_back(scheme);
  }
  return schemes;
}

constexpr std::string_view kAllSchemes = "all";

void KvOptions::declare(Options& options) {
  options.list(
      "-ctk,--cache-type-k", "TYPES", type_k,
      "precision of keys: bf16 int8 int4 int3 int2, with g32 for groups of 32 channels; f16 q8_0 q4_0 too [bf16]");
  options.list("-ctv,--cache-type-v", "TYPES", type_v, "precision of values [bf16]");
  options.list("--kv", "SCHEMES", kv,
               "both at once, instead of -ctk and -ctv: k8v4, k4t32.pre.v4g32 (keys per channel before RoPE), "
               "k4v4g64,0-1:k8 (more bits in two layers), a name of the catalogue (kivi-4, best-5), or all of it");
}

std::vector<KvScheme> KvOptions::schemes(const ModelShape& shape, const std::string& fallback) const {
  std::vector<KvScheme> wanted;
  if (!kv.empty() && (!type_k.empty() || !type_v.empty())) {
    fail_usage("--kv says both types at once: give it or -ctk and -ctv, not all");
  }
  for (const std::string& text : split_schemes(join(kv, ","))) {
    if (text == kAllSchemes) {
      const std::vector<KvScheme> all = fitting_schemes(shape.layers, shape.head_dim, shape.qkv_bias);
      wanted.insert(wanted.end(), all.begin(), all.end());
    } else if (!text.empty()) {
      wanted.push_back(find_scheme(text));
    }
  }
  if (!type_k.empty() || !type_v.empty()) {
    const std::vector<std::string> plain = {"bf16"};
    for (const std::string& keys : type_k.empty() ? plain : type_k) {
      for (const std::string& values : type_v.empty() ? plain : type_v) {
        wanted.push_back(KvScheme({parse_side(keys), parse_side(values)}));
      }
    }
  }
  if (wanted.empty()) wanted.push_back(parse_scheme(fallback));
  std::vector<KvScheme> schemes;
  for (const KvScheme& scheme : wanted) {
    const std::string problem = why_invalid(scheme, shape.layers, shape.head_dim, shape.qkv_bias);
    if (!problem.empty()) fail_usage("{}", problem);
    if (std::find(schemes.begin(), schemes.end(), scheme) == schemes.end()) schemes.push_back(scheme);
  }
  return schemes;
}

void TextOptions::declare(Options& options) {
  options.heading("Text");
  options.text("--text", "FILE", file, "measure on stretches of this text [text that the model samples itself]");
  options.integer("--texts", texts, {fewest, 10000}, fewest > 0 ? "how many texts" : "how many texts; 0: tasks alone");
  options.seed(seed);
}

namespace {

std::string to_json(const std::vector<Text>& texts) {
  nlohmann::json all = nlohmann::json::array();
  for (const Text& text : texts) all.push_back({{"tokens", text.tokens}, {"origin", text.origin}});
  return all.dump();
}

std::vector<Text> texts_from_json(const std::string& json, const std::string& where) {
  try {
    std::vector<Text> texts;
    for (const auto& text : nlohmann::json::parse(json)) {
      texts.push_back({text.at("tokens").get<std::vector<int32_t>>(), text.at("origin").get<std::string>()});
    }
    return texts;
  } catch (const nlohmann::json::exception& error) {
    fail("{}: the texts kept in it cannot be read: {}", where, error.what());
  }
}

}  // namespace

std::vector<Text> TextOptions::obtain(const LoadedModel& loaded, int tokens, Study* study) const {
  if (texts == 0) return {};
  if (!token_file.empty()) return texts_of_token_file(token_file, loaded.models->shape().vocabulary);
  const TextSize size = {.texts = texts, .tokens = tokens, .seed = seed};
  const char* data = std::getenv("KVPARETO_DATA");
  Progress progress("sampling text", 100, "%");
  const auto obtain_now = [&] {
    return default_texts(loaded.bf16(), loaded.tokenizer, file, data == nullptr ? "" : data, size,
                         [&](double fraction) { progress.update(100 * fraction); });
  };
  if (study == nullptr || !file.empty() || data != nullptr) return obtain_now();
  const std::string name = fmt::format("texts of {}, {} of {} tokens, seed {}",
                                       fingerprint(loaded.models->fingerprint()), texts, tokens, seed);
  if (const auto kept = study->note(name)) return texts_from_json(*kept, study->path());
  const std::vector<Text> sampled = obtain_now();
  study->set_note(name, to_json(sampled));
  return sampled;
}

void check_context(int64_t context, const ModelShape& shape, const std::string& path) {
  if (context <= shape.context) return;
  if (shape.context == shape.window) {
    fail_usage(
        "a context of {} tokens is longer than the attention window of {}, {} tokens, which is as far as this program "
        "goes",
        context, path, shape.window);
  }
  fail_usage("a context of {} tokens is longer than the {} that {} was trained for", context, shape.context, path);
}

std::string key_type(const KvScheme& scheme) { return to_text(scheme.base().keys); }
std::string value_type(const KvScheme& scheme) { return to_text(scheme.base().values); }

}  // namespace kvpareto
