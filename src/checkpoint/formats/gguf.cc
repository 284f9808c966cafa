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

// One file; a model may lie in several, the first of which has all metadata.
struct Part {
  std::optional<MappedFile> file;  // none if the bytes belong to someone else
  std::span<const uint8_t> bytes;
  std::string path;
  GgufContents contents;
};

std::unique_ptr<Part> open_part(MappedFile file) {
  const std::span<const uint8_t> bytes = file.bytes();
  std::string path = file.path();
  GgufContents contents = parse_gguf(bytes, path);
  return std::make_unique<Part>(Part{std::move(file), bytes, std::move(path), std::move(contents)});
}

double number_or(const Part& part, std::string_view key, double fallback) {
  const GgufValue* value = find_value(part.contents.metadata, key);
  return value != nullptr ? as_number(*value).value_or(fallback) : fallback;
}

// The name of part `number` (from 1) beside `path`, which is one of `count`: "model-00002-of-00003.gguf".
std::string path_of_part(const std::string& path, int number, int count) {
  const std::string ending = fmt::format("-of-{:05}.gguf", count);
  const size_t digits = path.size() - std::min(path.size(), ending.size() + 5);
  if (!path.ends_with(ending) || digits == 0 || path[digits - 1] != '-') {
    fail("{}: one of {} parts of a model, whose name should end in -00001{}", path, count, ending);
  }
  return fmt::format("{}{:05}{}", path.substr(0, digits), number, ending);
}

constexpr int kMostParts = 1000;

// All parts of the model that `first` belongs to, in order. Throws Error: parts missing, or not of one model.
std::vector<std::unique_ptr<Part>> with_other_parts(std::unique_ptr<Part> given) {
  std::vector<std::unique_ptr<Part>> parts;
  const double claimed = number_or(*given, "split.count", 1);
  if (claimed <= 1) {
    parts.push_back(std::move(given));
    return parts;
  }
  if (claimed > kMostParts || claimed != static_cast<int>(claimed))
    fail("{}: claims to be one of {} parts", given->path, claimed);
  if (!given->file) fail("{}: one of {} parts of a model", given->path, claimed);
  const int count = static_cast<int>(claimed);
  size_t tensors = 0;
  for (int i = 0; i < count; ++i) {
    const std::string path = path_of_part(given->path, i + 1, count);
    MappedFile file(path);
    if (!is_gguf(file.bytes()))
      fail("{}: should be part {} of {} of a GGUF model, found something else", path, i + 1, count);
    parts.push_back(open_part(std::move(file)));
    const double number = number_or(*parts.back(), "split.no", -1), same = number_or(*parts.back(), "split.count", 1);
    if (number != i || same != claimed) {
      fail("{}: should be part {} of {}, says that it is part {} of {}", path, i + 1, count, number + 1, same);
    }
    tensors += parts.back()->contents.tensors.size();
  }
  const double wanted = number_or(*parts.front(), "split.tensors.count", static_cast<double>(tensors));
  if (wanted != static_cast<double>(tensors))
    fail("{}: its parts hold {} tensors, not {}", parts.front()->path, tensors, wanted);
  return parts;
}

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(std::unique_ptr<Part> given) : parts_(with_other_parts(std::move(given))) {
    read_architecture();
    for (const auto& part : parts_) {
      for (const GgufTensor& tensor : part->contents.tensors) {
        infos_.push_back(tensor.info);
        places_.push_back({part.get(), &tensor});
      }
    }
    for (size_t i = 0; i < infos_.size(); ++i) {
      if (index_.emplace(infos_[i].name, i).second) continue;
      fail("{}: tensor {} is in two parts", path(), quoted_name(infos_[i].name));
    }
  }

  std::string format() const override { return "GGUF v3"; }
  const std::string& path() const override { return parts_.front()->path; }
  uint64_t file_bytes() const override {
    uint64_t bytes = 0;
    for (const auto& part : parts_) bytes += part->bytes.size();
    return bytes;
  }

  uint64_t fingerprint() const override {
    uint64_t hash = 0;
    for (const auto& part : parts_) hash = fingerprint_of(part->bytes, part->contents.data_begin, hash);
    return hash;
  }

  std::string architecture() const override { return architecture_; }
  std::optional<double> number(std::string_view key) const override {
    const GgufValue* value = find_value(metadata(), fmt::format("{}.{}", architecture_, key));
    return value != nullptr ? as_number(*value) : std::nullopt;
  }
  std::optional<std::string> text(std::string_view key) const override {
    const GgufValue* value = find_value(metadata(), fmt::format("{}.{}", architecture_, key));
    return value != nullptr ? as_text(*value) : std::nullopt;
  }
  VocabularyData vocabulary() const override { return read_vocabulary(metadata(), path()); }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found != index_.end() ? &infos_[found->second] : nullptr;
  }

  void read(const TensorInfo& info, int64_t begin, int64_t count, float* out) const override {
    const auto& [part, found] = located(info);
    const GgufTensor& tensor = *found;
    assert(begin >= 0 && count >= 0 && begin <= info.rows() && count <= info.rows() - begin);
    const int64_t blocks = info.columns() / tensor.format->values;  // of a row
    const uint64_t offset = tensor.offset + static_cast<uint64_t>(begin * blocks * tensor.format->bytes);
    tensor.format->decode(part->bytes.data() + offset, count * blocks, out);
  }

  const uint8_t* stored_row(const TensorInfo& info, int64_t row) const override {
    const auto& [part, found] = located(info);
    const GgufTensor& tensor = *found;
    assert(row >= 0 && row < info.rows());
    const int64_t row_bytes = info.columns() / tensor.format->values * tensor.format->bytes;
    return part->bytes.data() + tensor.offset + static_cast<uint64_t>(row * row_bytes);
  }

  std::optional<RowsPlace> place(const TensorInfo& info) const override {
    const auto& [part, tensor] = located(info);
    return RowsPlace{part->path, tensor->offset, tensor->format, info.columns()};
  }

  void release(const TensorInfo& info) const override {
    const auto& [part, tensor] = located(info);
    if (part->file) part->file->release(tensor->offset, tensor->info.bytes);
  }

 private:
  struct Place {
    const Part* part;
    const GgufTensor* tensor;
  };
  const Place& located(const TensorInfo& info) const {
    const auto found = index_.find(info.name);
    assert(found != index_.end());
    return places_[found->second];
  }
  std::span<const GgufValue> metadata() const { return parts_.front()->contents.metadata; }

  void read_architecture() {
    const GgufValue* value = find_value(metadata(), "general.architecture");
    const std::optional<std::string> name = value != nullptr ? as_text(*value) : std::nullopt;
    if (!name || name->empty()) fail("{}: metadata general.architecture is missing or no string", path());
    // It is part of every other key and of messages, so it has to be a word.
    const bool word = std::ranges::all_of(*name, [](char c) { return c > ' ' && c < 0x7f; });
    if (!word || name->size() > kMaxArchitecture)
      fail("{}: metadata general.architecture is no word: {}", path(), quoted_name(*name));
    architecture_ = *name;
  }

  std::vector<std::unique_ptr<Part>> parts_;
  std::string architecture_;
  std::vector<TensorInfo> infos_;
  std::vector<Place> places_;  // as infos_
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace

bool is_gguf(std::span<const uint8_t> bytes) { return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0; }

std::unique_ptr<Checkpoint> open_gguf(MappedFile file) {
  return std::make_unique<GgufCheckpoint>(open_part(std::move(file)));
}

std::unique_ptr<Checkpoint> open_gguf(std::span<const uint8_t> bytes, const std::string& path) {
  return std::make_unique<GgufCheckpoint>(
      std::make_unique<Part>(Part{std::nullopt, bytes, path, parse_gguf(bytes, path)}));
}

}  // namespace kvpareto
