#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/formats/gguf.h"
#include "checkpoint/formats/hf_folder.h"
#include "checkpoint/formats/safetensors.h"

namespace kvpareto {
namespace {

struct Format {
  bool (*recognises)(std::span<const uint8_t> bytes);
  std::unique_ptr<Checkpoint> (*open)(MappedFile file);
};
constexpr Format kFormats[] = {
    {is_gguf, open_gguf},
};

// What people hand over by mistake, by its first bytes.
struct Mistake {
  std::string_view beginning, explanation;
};
constexpr Mistake kMistakes[] = {
    {"version https://git-lfs", "a Git LFS pointer, not the file itself: run git lfs pull"},
    {"<!DOCTYPE", "a web page, not a model: download the file itself"},
    {"<html", "a web page, not a model: download the file itself"},
    {"lmgg", "a GGML file from before GGUF: convert the model again"},
    {"tjgg", "a GGML file from before GGUF: convert the model again"},
    {"fmgg", "a GGML file from before GGUF: convert the model again"},
    {"PK\x03\x04", "a zip archive or PyTorch file: convert the model to GGUF"},
};

[[noreturn]] void refuse(const std::string& path, std::span<const uint8_t> bytes) {
  const std::string_view beginning(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 64));
  for (const Mistake& mistake : kMistakes) {
    if (beginning.starts_with(mistake.beginning)) fail("{}: {}", path, mistake.explanation);
  }
  if (is_safetensors(bytes)) {
    fail("{}: a safetensors file: give the folder that it lies in, which has config.json and tokenizer.json", path);
  }
  fail("{}: wanted a GGUF v3 model file or a Hugging Face folder, found something else", path);
}

// A folder that is no model itself; often a GGUF file lies in it.
[[noreturn]] void refuse_folder(const std::string& path) {
  std::string nearest_file;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
    const std::string candidate = entry.path().string();
    if (entry.path().extension() != ".gguf") continue;
    if (nearest_file.empty() || candidate < nearest_file) nearest_file = candidate;
  }
  fail("{}: a folder without config.json; wanted a Hugging Face folder or a GGUF v3 file{}", path,
       nearest_file.empty() ? "" : fmt::format(", such as {} in it", nearest_file));
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    if (is_hf_folder(path)) return open_hf_folder(path);
    refuse_folder(path);
  }
  MappedFile file(path);
  for (const Format& format : kFormats) {
    if (format.recognises(file.bytes())) return format.open(std::move(file));
  }
  refuse(path, file.bytes());
}

}  // namespace kvpareto
