#include "eval/quantized_weights.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;

// What of the scheme the folder holds: tables and activations are the loader's affair.
WeightScheme linears_of(const WeightScheme& scheme) {
  WeightScheme linears = scheme;
  linears.table = WeightScheme().table;
  linears.activations = WeightScheme().activations;
  linears.awq = false;
  return linears;
}

}  // namespace

std::string quantized_folder_name(uint64_t model, const WeightScheme& scheme, uint64_t calibration) {
  constexpr size_t kLongest = 96;  // file systems take 255 bytes for a name, and `.partial` comes behind it
  std::string linears = to_text(linears_of(scheme));
  if (linears.size() > kLongest)
    linears = fmt::format("{},{}", linears.substr(0, linears.find(',')), fingerprint(hash_text(linears)));
  return fmt::format("{}-{}-{}-{}", fingerprint(model), linears, fingerprint(calibration), kQuantizeRecipe);
}

std::string default_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path base =
      cache != nullptr && *cache != '\0' ? fs::path(cache) : fs::path(home == nullptr ? "." : home) / ".cache";
  return (base / "kvpareto" / "weights").string();
}

QuantizedWeights::QuantizedWeights(const Checkpoint& checkpoint, Backend& backend, QuantizedPlace place, Watch watch)
    : checkpoint_(checkpoint), backend_(backend), place_(std::move(place)), watch_(std::move(watch)) {}

const CalibrationTexts& QuantizedWeights::texts() {
  if (!texts_) {
    tokenizer_.emplace(load_tokenizer(checkpoint_));
    texts_.emplace(place_.calibration, place_.data_folder, *tokenizer_, CalibrationSize());
  }
  return *texts_;
}

std::string QuantizedWeights::calibration() {
  return fmt::format("{} ({}-{})", texts().origin(), fingerprint(texts().hash()), kQuantizeRecipe);
}

std::unique_ptr<Checkpoint> QuantizedWeights::make(const WeightScheme& scheme) {
  QuantizeJob job;
  job.scheme = linears_of(scheme);
  const std::string name = quantized_folder_name(checkpoint_.fingerprint(), scheme, texts().hash());
  job.folder = (fs::path(place_.cache_folder) / name).string();
  std::error_code ignored;
  if (fs::exists(job.folder, ignored)) return open_checkpoint(job.folder);
  fs::create_directories(place_.cache_folder, ignored);
  const QuantizeWatcher watch = watch_ ? watch_(scheme) : QuantizeWatcher();
  job.calibration = texts().make([&] { return load_model(checkpoint_, backend_); },
                                 [&](double fraction) {
                                   if (watch)
                                     watch(0, fmt::format("sampling calibration text, {:.0f} %", 100 * fraction));
                                 });
  quantize_model(checkpoint_, backend_, job, watch);
  return open_checkpoint(job.folder);
}

}  // namespace kvpareto
