#pragma once
// A model file on disk as named tensors and metadata, whatever the format. Read-only; tensors are converted a range of
// rows at a time, so that a large file never stands in memory twice.
//
// To add a format: one file in formats/ with an `open_` function, one line in the list of checkpoint.cc. Names of
// tensors and metadata follow GGUF ("blk.0.attn_q.weight", "block_count"): a format that has others translates them.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/stored_rows.h"
#include "quant/weight_codec.h"
#include "tensor/tensor.h"

namespace kvpareto {

struct TensorInfo {
  std::string name;
  std::string storage;         // type in the file: "F32", "Q4_1", ...
  std::vector<int64_t> shape;  // slowest first: [rows, columns] of a matrix, [n] of a vector
  uint64_t bytes = 0;          // in the file
  int64_t columns() const { return shape.back(); }
  // All but the last dimension together.
  int64_t rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
    return product;
  }
};

// What a tokenizer needs of a file; empty where the file has none.
struct VocabularyData {
  std::string model;          // "gpt2" is byte-level BPE, "llama" SentencePiece's with scores
  std::string pre_tokenizer;  // "smollm", "qwen2", "llama-bpe", ...
  std::vector<std::string> tokens;
  std::vector<std::string> merges;   // "left right", best first
  std::vector<float> scores;         // of "llama": the higher, the earlier merged
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::optional<int32_t> beginning, end, padding, unknown;
  std::optional<bool> adds_beginning;  // whether a text begins with `beginning`; empty: as the kind of tokenizer does
  bool add_space = true;               // "llama": whether a space is put before a text
  std::string chat_template;           // Jinja source; empty if none

  // Of Hugging Face folders: tokenizer.json as it stands, instead of all above but the template; tokens by their text.
  std::string tokenizer_json;
  std::string beginning_text, end_text;
  std::vector<int32_t> ends;  // tokens that end an answer
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;
  virtual std::string format() const = 0;  // "GGUF v3"
  virtual const std::string& path() const = 0;
  virtual uint64_t file_bytes() const = 0;
  virtual uint64_t fingerprint() const = 0;  // of header and sampled tensor bytes: the same file, the same number

  virtual std::string architecture() const = 0;  // "llama", "qwen2", ...
  // Metadata of the architecture, without its prefix: number("block_count"), number("attention.head_count_kv"),
  // number("rope.freq_base"). Empty if the file does not say or the value is no finite scalar number / string.
  virtual std::optional<double> number(std::string_view key) const = 0;
  virtual std::optional<std::string> text(std::string_view key) const = 0;
  virtual VocabularyData vocabulary() const = 0;

  virtual std::span<const TensorInfo> tensors() const = 0;
  // Null if there is none of this name.
  virtual const TensorInfo* find(std::string_view name) const = 0;
  // Rows [begin, begin + count) as f32, row-major, to `out` [count, columns]. Safe to call from several threads.
  virtual void read(const TensorInfo& info, int64_t begin, int64_t count, float* out) const = 0;
  // One row's blocks as the file holds them, for the formats of GGUF; safe to call from several threads. Null where a
  // format has none.
  virtual const uint8_t* stored_row(const TensorInfo& /*info*/, int64_t /*row*/) const { return nullptr; }
  // Unit `unit` of a row of a tensor that is stored as codes of this program's own kind (its `storage` is then a text
  // such as "w4g128"), bit for bit. Only called for such tensors.
  virtual void read_unit(const TensorInfo& /*info*/, int64_t /*row*/, int64_t /*unit*/, WeightUnit& /*out*/) const {}
  // Where the rows of a tensor lie in a file; empty if it is made of several tensors.
  virtual std::optional<RowsPlace> place(const TensorInfo& info) const = 0;
  // The rows just read are not needed again: their pages may leave memory.
  virtual void release(const TensorInfo& info) const = 0;
};

// Opens a file by its contents, or a Hugging Face folder. Throws Error (kFailure), one line: missing, no known format,
// truncated, corrupt, or with tensor types this program cannot read.
std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path);

}  // namespace kvpareto
