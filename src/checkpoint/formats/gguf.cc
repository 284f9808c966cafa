#include "checkpoint/formats/gguf.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/formats/gguf_metadata.h"
#include "checkpoint/formats/gguf_parser.h"

namespace kvpareto {
namespace {

constexpr size_t kMaxArchitecture = 64;  // characters of its name; the longest known has about 20

class GgufCheckpoint : public Checkpoint {
 public:
  GgufCheckpoint(std::span<const uint8_t> bytes, std::string path, std::optional<MappedFile> file)
      : file_(std::move(file)), bytes_(bytes), path_(std::move(path)), contents_(parse_gguf(bytes_, path_)) {
    read_architecture();
    refuse_parts();
    for (const GgufTensor& tensor : contents_.tensors) infos_.push_back(tensor.info);
    for (size_t i = 0; i < infos_.size(); ++i) index_.emplace(infos_[i].name, i);
  }

  std::string format() const override { return "GGUF v3"; }
  const std::string& path() const override { return path_; }
  uint64_t file_bytes() const override { return bytes_.size(); }

  uint64_t fingerprint() const override { return fingerprint_of(bytes_, contents_.data_begin, 0); }

  std::string architecture() const override { return architecture_; }
  std::optional<double> number(std::string_view key) const override {
    const GgufValue* value = find_value(contents_.metadata, fmt::format("{}.{}", architecture_, key));
    return value != nullptr ? as_number(*value) : std::nullopt;
  }
  std::optional<std::string> text(std::string_view key) const override {
    const GgufValue* value = find_value(contents_.metadata, fmt::format("{}.{}", architecture_, key));
    return value != nullptr ? as_text(*value) : std::nullopt;
  }
  VocabularyData vocabulary() const override { return read_vocabulary(contents_.metadata, path_); }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found != index_.end() ? &infos_[found->second] : nullptr;
  }

  void read(const TensorInfo& info, int64_t begin, int64_t count, float* out) const override {
    const GgufTensor& tensor = located(info);
    assert(begin >= 0 && count >= 0 && begin <= info.rows() && count <= info.rows() - begin);
    const int64_t blocks = info.columns() / tensor.format->values;  // of a row
    const uint64_t offset = tensor.offset + static_cast<uint64_t>(begin * blocks * tensor.format->bytes);
    tensor.format->decode(bytes_.data() + offset, count * blocks, out);
  }

  const uint8_t* stored_row(const TensorInfo& info, int64_t row) const override {
    const GgufTensor& tensor = located(info);
    assert(row >= 0 && row < info.rows());
    const int64_t row_bytes = info.columns() / tensor.format->values * tensor.format->bytes;
    return bytes_.data() + tensor.offset + static_cast<uint64_t>(row * row_bytes);
  }

  void release(const TensorInfo& info) const override {
    const GgufTensor& tensor = located(info);
    if (file_) file_->release(tensor.offset, tensor.info.bytes);
  }

 private:
  const GgufTensor& located(const TensorInfo& info) const {
    const auto found = index_.find(info.name);
    assert(found != index_.end());
    return contents_.tensors[found->second];
  }

  void read_architecture() {
    const GgufValue* value = find_value(contents_.metadata, "general.architecture");
    const std::optional<std::string> name = value != nullptr ? as_text(*value) : std::nullopt;
    if (!name || name->empty()) fail("{}: metadata general.architecture is missing or no string", path_);
    // It is part of every other key and of messages, so it has to be a word.
    const bool word = std::ranges::all_of(*name, [](char c) { return c > ' ' && c < 0x7f; });
    if (!word || name->size() > kMaxArchitecture)
      fail("{}: metadata general.architecture is no word: {}", path_, quoted_name(*name));
    architecture_ = *name;
  }

  void refuse_parts() const {
    const GgufValue* value = find_value(contents_.metadata, "split.count");
    const double parts = value != nullptr ? as_number(*value).value_or(1) : 1;
    if (parts > 1) fail("{}: one of {} parts of a model; join them first (llama-gguf-split --merge)", path_, parts);
  }

  std::optional<MappedFile> file_;  // none if the bytes belong to someone else
  std::span<const uint8_t> bytes_;
  std::string path_;
  GgufContents contents_;
  std::string architecture_;
  std::vector<TensorInfo> infos_;  // as contents_.tensors
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace

bool is_gguf(std::span<const uint8_t> bytes) { return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0; }

std::unique_ptr<Checkpoint> open_gguf(MappedFile file) {
  const std::span<const uint8_t> bytes = file.bytes();
  const std::string path = file.path();
  return std::make_unique<GgufCheckpoint>(bytes, path, std::move(file));
}

std::unique_ptr<Checkpoint> open_gguf(std::span<const uint8_t> bytes, const std::string& path) {
  return std::make_unique<GgufCheckpoint>(bytes, path, std::nullopt);
}

}  // namespace kvpareto
