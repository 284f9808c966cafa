#include "cli/evaluators.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "search/sampler.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

constexpr uint64_t kOtherSeed = 0x5eed;  // added to the seed of the texts that verify
constexpr int kTries = 4;                // places of a file that are looked at, for each text wanted
constexpr size_t kPassage = 32;          // tokens in a row that make two texts overlap
// Of a shortened text. Enough for every packed block to be read; a context is shortened if it is so many times longer.
constexpr int kShortPrefill = 512, kShortScored = 256, kWorthShortening = 2;

std::string data_file(const char* name) {
  const char* data = std::getenv("KVPARETO_DATA");
  const std::string path = data == nullptr ? "" : std::string(data) + "/wikitext2_raw/" + name;
  return !path.empty() && std::filesystem::exists(path) ? path : "";
}

bool begins_within(const Text& text, const Text& other) {
  const auto end = text.tokens.begin() + static_cast<ptrdiff_t>(std::min(kPassage, text.tokens.size()));
  return std::search(other.tokens.begin(), other.tokens.end(), text.tokens.begin(), end) != other.tokens.end();
}

}  // namespace

Evaluators::Evaluators(const LoadedModel& loaded, std::vector<Text> texts, EvalOptions options)
    : loaded_(loaded), all_(std::move(texts)), options_(std::move(options)) {
  options_.shared = std::make_shared<TextResults>();
  if (short_cost() > 0) on(kShortened);
  for (size_t count = 1; count < all_.size(); count *= 2) on(static_cast<int>(count));
  whole();
}

double Evaluators::short_cost() const {
  const double whole = texts() * (options_.prefill + options_.scored), cut = kShortPrefill + kShortScored;
  return kWorthShortening * cut <= whole / texts() ? cut / whole : 0;
}

Evaluator& Evaluators::on(int texts) {
  auto& evaluator = made_[texts];
  if (evaluator == nullptr) {
    EvalOptions options = options_;
    if (texts < this->texts()) options.tasks = {};
    if (texts == kShortened) {
      options.prefill = kShortPrefill;
      options.scored = kShortScored;
      options.decoded = 0;
    }
    evaluator =
        std::make_unique<Evaluator>(*loaded_.models, loaded_.tokenizer,
                                    std::vector<Text>(all_.begin(), all_.begin() + std::max(1, texts)), options);
  }
  return *evaluator;
}

std::vector<Measurement> Evaluators::kept(const Study& study) const {
  std::vector<Measurement> all;
  for (const auto& [texts, evaluator] : made_) {
    for (Measurement& m : study.all(evaluator->regime())) {
      all.push_back(std::move(m));
      all.back().regime.texts = texts;
    }
  }
  return all;
}

std::vector<Measurement> Evaluators::elsewhere(const Study& study) const {
  std::set<std::string> here;
  for (const auto& [texts, evaluator] : made_) {
    here.insert(regime_key(evaluator->regime()));
    here.insert(regime_key(regime_of(evaluator->regime(), Point())));
  }
  const std::string& model = made_.begin()->second->regime().model_hash;
  std::vector<Measurement> all = study.all();
  std::erase_if(
      all, [&](const Measurement& m) { return m.regime.model_hash != model || here.contains(regime_key(m.regime)); });
  return all;
}

TextOptions tuning_texts(const TextOptions& options) {
  TextOptions tuned = options;
  if (tuned.file.empty() && tuned.token_file.empty()) tuned.file = data_file("wiki.valid.raw");
  return tuned;
}

std::vector<Text> held_out_texts(const TextOptions& options, const std::vector<Text>& tuned, const LoadedModel& loaded,
                                 int tokens, Study* study) {
  TextOptions other = options;
  other.token_file.clear();
  other.seed += kOtherSeed;
  const std::string tuning_file = tuning_texts(options).file;
  if (options.file.empty() && !tuning_file.empty()) {
    other.file = data_file("wiki.test.raw");
    return other.file.empty() ? std::vector<Text>() : other.obtain(loaded, tokens, study);
  }
  if (options.file.empty()) return other.obtain(loaded, tokens, study);
  other.texts = kTries * options.texts;
  std::vector<Text> free;
  try {
    free = other.obtain(loaded, tokens, study);
  } catch (const Error&) {
    return {};  // the file is too short for more texts
  }
  std::erase_if(free, [&](const Text& text) {
    return std::any_of(tuned.begin(), tuned.end(),
                       [&](const Text& seen) { return begins_within(text, seen) || begins_within(seen, text); });
  });
  if (free.size() > tuned.size()) free.resize(tuned.size());
  return free;
}

}  // namespace kvpareto
