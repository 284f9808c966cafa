#include "checkpoint/formats/hf_folder.h"

#include <algorithm>
#include <cassert>
#include <filesystem>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/formats/hf_config.h"
#include "checkpoint/formats/hf_vocabulary.h"
#include "checkpoint/formats/packed_weights.h"
#include "checkpoint/formats/safetensors.h"
#include "quant/gguf_blocks.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kConfig = "config.json", *kSingle = "model.safetensors", *kIndex = "model.safetensors.index.json";
constexpr size_t kMostShards = 10000;

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// "DIR" of "DIR/" and "DIR/.".
std::string tidy(const std::string& path) {
  std::string text = fs::path(path).lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text == "." ? fs::current_path().string() : text;
}

struct Shard {
  MappedFile file;
  SafetensorsContents contents;
};

// One tensor of a shard.
struct Piece {
  const Shard* shard = nullptr;
  const SafetensorsTensor* tensor = nullptr;
  const uint8_t* data() const { return shard->file.bytes().data() + tensor->offset; }
};

// A matrix or vector of the model: one piece, or those that packing makes of a matrix.
struct Located {
  TensorInfo info;
  std::vector<Piece> pieces;
  const GgufBlockFormat* format = nullptr;  // F32, F16 and BF16 are the same in both formats; null: packed
  const PackedMatrix* packed = nullptr;
};

class HfCheckpoint : public Checkpoint {
 public:
  explicit HfCheckpoint(const std::string& path) : path_(path), config_text_(read_file(path + "/" + kConfig)) {
    config_ = parse_hf_config(config_text_, path + "/" + kConfig);
    parts_.emplace(config_.awq, config_.formats, path_);
    open_shards();
    for (const auto& shard : shards_) {
      for (const SafetensorsTensor& tensor : shard->contents.tensors) add(*shard, tensor);
    }
    add_packed();
    for (const Located& tensor : tensors_) infos_.push_back(tensor.info);
    check_against_config();
  }

  std::string format() const override { return "Hugging Face folder"; }
  const std::string& path() const override { return path_; }
  uint64_t file_bytes() const override {
    uint64_t bytes = 0;
    for (const auto& shard : shards_) bytes += shard->file.bytes().size();
    return bytes;
  }
  uint64_t fingerprint() const override {
    uint64_t hash = hash_text(config_text_);
    for (const auto& shard : shards_) hash = fingerprint_of(shard->file.bytes(), shard->contents.data_begin, hash);
    return exists(path_ + "/tokenizer.json") ? hash_text(read_file(path_ + "/tokenizer.json"), hash) : hash;
  }

  std::string architecture() const override { return config_.architecture; }
  std::optional<double> number(std::string_view key) const override {
    const auto found = config_.numbers.find(key);
    return found != config_.numbers.end() ? std::optional(found->second) : std::nullopt;
  }
  std::optional<std::string> text(std::string_view key) const override {
    const auto found = config_.texts.find(key);
    return found != config_.texts.end() ? std::optional(found->second) : std::nullopt;
  }
  VocabularyData vocabulary() const override { return read_hf_vocabulary(path_, config_); }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found = index_.find(std::string(name));
    return found != index_.end() ? &infos_[found->second] : nullptr;
  }
  void read(const TensorInfo& info, int64_t begin, int64_t count, float* out) const override {
    const Located& tensor = located(info);
    assert(begin >= 0 && count >= 0 && begin <= info.rows() && count <= info.rows() - begin);
    if (tensor.packed != nullptr) return tensor.packed->read(begin, count, out);
    const auto offset = static_cast<uint64_t>(begin * info.columns() * tensor.format->bytes);
    tensor.format->decode(tensor.pieces[0].data() + offset, count * info.columns(), out);
  }
  void read_unit(const TensorInfo& info, int64_t row, int64_t unit, WeightUnit& out) const override {
    const Located& tensor = located(info);
    assert(tensor.packed != nullptr);
    tensor.packed->read_unit(row, unit, out);
  }
  std::optional<RowsPlace> place(const TensorInfo& info) const override {
    const Located& tensor = located(info);
    if (tensor.packed != nullptr) return {};
    const Piece& piece = tensor.pieces[0];
    return RowsPlace{piece.shard->file.path(), piece.tensor->offset, tensor.format, info.columns()};
  }
  void release(const TensorInfo& info) const override {
    for (const Piece& piece : located(info).pieces)
      piece.shard->file.release(piece.tensor->offset, piece.tensor->bytes);
  }

 private:
  const Located& located(const TensorInfo& info) const {
    const auto found = index_.find(info.name);
    assert(found != index_.end());
    return tensors_[found->second];
  }

  void open_shard(const std::string& name) {
    MappedFile file(path_ + "/" + name);
    SafetensorsContents contents = parse_safetensors(file.bytes(), file.path());
    shards_.push_back(std::make_unique<Shard>(Shard{std::move(file), std::move(contents)}));
  }

  void open_shards() {
    if (exists(path_ + "/" + kIndex)) return open_indexed();
    if (exists(path_ + "/" + kSingle)) return open_shard(kSingle);
    for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"}) {
      if (exists(path_ + "/" + other)) {
        fail("{}: holds {} but no {}: convert it (transformers' save_pretrained writes safetensors)", path_, other,
             kSingle);
      }
    }
    fail("{}: has a {} but neither {} nor {}", path_, kConfig, kSingle, kIndex);
  }

  // Every tensor of the index has to be in the shard that it names, and nothing else in any.
  void open_indexed() {
    const std::string where = path_ + "/" + kIndex;
    const json index = parse_json(read_file(where), where);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      fail("{}: has no weight_map", where);
    }
    std::map<std::string, std::set<std::string>> wanted;  // tensors by shard
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
      const std::string name = shard.is_string() ? shard.get<std::string>() : "";
      // A name in this folder: an index must not reach for other files.
      if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos || name.starts_with('.')) {
        fail("{}: tensor {} is in {}, which is no file name", where, quoted_name(tensor),
             quoted_name(shard.dump(-1, ' ', true)));
      }
      wanted[name].insert(tensor);
    }
    if (wanted.empty() || wanted.size() > kMostShards) fail("{}: lists {} files", where, wanted.size());
    for (auto& [name, tensors] : wanted) {
      open_shard(name);
      for (const SafetensorsTensor& tensor : shards_.back()->contents.tensors) {
        if (tensors.erase(tensor.name) == 0) {
          fail("{}: {} holds tensor {}, which is not listed for it", where, name, quoted_name(tensor.name));
        }
      }
      if (!tensors.empty()) fail("{}: tensor {} is missing in {}", where, quoted_name(*tensors.begin()), name);
    }
  }

  void add(const Shard& shard, const SafetensorsTensor& tensor) {
    if (parts_->take({tensor, Piece{&shard, &tensor}.data()})) {
      pieces_[tensor.name] = {&shard, &tensor};
      return;
    }
    const std::string name = gguf_tensor_name(tensor.name);
    // A head saved although it is tied is the embedding once more.
    if (name.empty() || (config_.tied && name == "output.weight")) return;
    Located located;
    located.info = {name, tensor.type, tensor.shape, tensor.bytes};
    located.pieces = {{&shard, &tensor}};
    for (const GgufBlockFormat& format : gguf_block_formats()) {
      if (format.name == tensor.type && format.values == 1) located.format = &format;
    }
    if (located.format == nullptr) {
      fail("{}: tensor {} is stored as {}, which this program cannot read; it reads F32 F16 BF16", shard.file.path(),
           quoted_name(tensor.name), tensor.type);
    }
    enter(std::move(located), shard.file.path());
  }

  void enter(Located tensor, const std::string& where) {
    if (!index_.emplace(tensor.info.name, tensors_.size()).second)
      fail("{}: tensor {} appears twice", where, quoted_name(tensor.info.name));
    tensors_.push_back(std::move(tensor));
  }

  // Matrices of several tensors, each as one that is stored as "w4g128".
  void add_packed() {
    matrices_ = parts_->matrices();
    for (const auto& [name, matrix] : matrices_) {
      Located located;
      const WeightFormat& format = matrix.format();
      located.info = {name,
                      fmt::format("{}g{}", info_of(format.codec).name, format.group),
                      {matrix.rows(), matrix.columns()},
                      matrix.bytes()};
      for (const PackedPart& part : matrix.parts()) {
        if (part.data != nullptr) located.pieces.push_back(pieces_.at(part.tensor.name));
      }
      located.packed = &matrix;
      enter(std::move(located), path_);
    }
  }

  void check_against_config() const {
    if (!config_.tied && find("output.weight") == nullptr) {
      fail("{}: tensor lm_head.weight is missing, and {} does not tie it to the embedding", path_, kConfig);
    }
    const TensorInfo* embedding = find("token_embd.weight");
    if (embedding == nullptr) fail("{}: tensor model.embed_tokens.weight is missing", path_);
    if (config_.vocabulary > 0 && embedding->rows() != config_.vocabulary) {
      fail("{}: vocab_size is {} in {}, but the embedding has {} rows", path_, config_.vocabulary, kConfig,
           embedding->rows());
    }
  }

  std::string path_, config_text_;
  HfConfig config_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::optional<PackedParts> parts_;
  std::map<std::string, Piece> pieces_;  // of packed matrices, by their names in the file
  std::map<std::string, PackedMatrix> matrices_;
  std::vector<Located> tensors_;
  std::vector<TensorInfo> infos_;                  // as tensors_
  std::unordered_map<std::string, size_t> index_;  // of tensors_, by GGUF's name
};

}  // namespace

bool is_hf_folder(const std::string& path) { return exists(path + "/" + kConfig); }

std::unique_ptr<Checkpoint> open_hf_folder(const std::string& path) {
  return std::make_unique<HfCheckpoint>(tidy(path));
}

}  // namespace kvpareto
