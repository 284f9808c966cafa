#include "eval/quantized_weights.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "eval/calibration_texts.h"

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

std::string default_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path base =
      cache != nullptr && *cache != '\0' ? fs::path(cache) : fs::path(home == nullptr ? "." : home) / ".cache";
  return (base / "kvpareto" / "weights").string();
}

std::unique_ptr<Checkpoint> quantized_weights(const Checkpoint& checkpoint, Backend& backend,
                                              const WeightScheme& scheme, const QuantizedPlace& place,
                                              const QuantizeWatcher& watch) {
  QuantizeJob job;
  job.scheme = linears_of(scheme);
  const CalibrationSize size;
  const Tokenizer tokenizer = load_tokenizer(checkpoint);
  const std::string file = default_calibration_file(place.data_folder);
  if (!file.empty()) job.calibration = calibration_of_file(file, tokenizer, size);
  const std::string calibration = file.empty() ? "self" : fingerprint(job.calibration.hash());
  const std::string name = fmt::format("{}-{}-{}-{}", fingerprint(checkpoint.fingerprint()), to_text(job.scheme),
                                       calibration, kQuantizeRecipe);
  job.folder = (fs::path(place.cache_folder) / name).string();
  std::error_code ignored;
  if (fs::exists(job.folder, ignored)) return open_checkpoint(job.folder);
  fs::create_directories(place.cache_folder, ignored);
  if (file.empty()) {
    const auto sampling = [&](double fraction) {
      if (watch) watch(0, fmt::format("sampling calibration text, {:.0f} %", 100 * fraction));
    };
    job.calibration = sampled_calibration(load_model(checkpoint, backend), tokenizer, size, sampling);
  }
  quantize_model(checkpoint, backend, job, watch);
  return open_checkpoint(job.folder);
}

}  // namespace kvpareto
