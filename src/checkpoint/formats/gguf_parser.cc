#include "checkpoint/formats/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace kvpareto {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint32_t kMaxDimensions = 4;  // of ggml's tensors
constexpr int kMaxNesting = 4;          // of arrays of arrays; none is known to nest at all
constexpr size_t kMaxName = 65535;      // bytes of a key, by the specification; tensors' names are shorter still
constexpr uint32_t kDefaultAlignment = 32;

// Walks the header. Every step names what it wants, so that a short file is told in the reader's words.
class Cursor {
 public:
  Cursor(std::span<const uint8_t> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }
  std::span<const uint8_t> since(uint64_t begin) const { return bytes_.subspan(begin, position_ - begin); }

  void skip(uint64_t size, std::string_view wanted) {
    if (size > left()) {
      fail("{}: {} needs {} bytes at byte {} but the file ends at {}: truncated or corrupt", path_, wanted, size,
           position_, bytes_.size());
    }
    position_ += size;
  }

  template <typename T>
  T number(std::string_view wanted) {
    const uint64_t begin = position_;
    skip(sizeof(T), wanted);
    T value;
    std::memcpy(&value, bytes_.data() + begin, sizeof value);
    return value;
  }

  std::string_view text(std::string_view wanted) {
    const uint64_t size = number<uint64_t>(wanted);
    const uint64_t begin = position_;
    skip(size, wanted);
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, size};
  }

  std::string_view name(std::string_view wanted) {
    const std::string_view found = text(wanted);
    if (found.empty() || found.size() > kMaxName) {
      fail("{}: {} at byte {} has {} characters, wanted 1 to {}: corrupt file", path_, wanted, position_ - found.size(),
           found.size(), kMaxName);
    }
    return found;
  }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& path_;
  uint64_t position_ = 0;
};

class Parser {
 public:
  Parser(std::span<const uint8_t> bytes, const std::string& path) : cursor_(bytes, path), path_(path), bytes_(bytes) {}

  GgufContents parse() {
    read_version();
    const uint64_t tensors = count_of("tensors", kSmallestTensor, cursor_.number<uint64_t>("the number of tensors"));
    const uint64_t values =
        count_of("metadata values", kSmallestValue, cursor_.number<uint64_t>("the number of metadata values"));
    for (uint64_t i = 0; i < values; ++i) contents_.metadata.push_back(read_value());
    sort_metadata();
    read_alignment();
    for (uint64_t i = 0; i < tensors; ++i) contents_.tensors.push_back(read_tensor());
    place_tensors();
    check_names();
    check_overlaps();
    return std::move(contents_);
  }

 private:
  // Fewest bytes that an entry can have: a name of one character and the smallest fields.
  static constexpr uint64_t kSmallestValue = 8 + 1 + 4 + 1;
  static constexpr uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;

  void read_version() {
    cursor_.skip(4, "the magic number");
    const uint32_t version = cursor_.number<uint32_t>("the version");
    if (version == kVersion) return;
    if (version == __builtin_bswap32(kVersion)) {
      fail("{}: a big-endian GGUF file; this program reads little-endian ones: convert the model again", path_);
    }
    fail("{}: GGUF version {}, wanted {}: convert the model again with a current converter", path_, version, kVersion);
  }

  uint64_t count_of(std::string_view what, uint64_t smallest, uint64_t count) const {
    if (count > cursor_.left() / smallest) {
      fail("{}: claims {} {} but has only {} bytes left: truncated or corrupt", path_, count, what, cursor_.left());
    }
    return count;
  }

  GgufValue read_value() {
    GgufValue value;
    value.key = cursor_.name("a metadata key");
    const std::string wanted = "metadata " + quoted_name(value.key);
    value.type = read_type(wanted);
    value.is_array = value.type == GgufType::kArray;
    if (value.is_array) {
      value.type = read_type(wanted);
      value.count = cursor_.number<uint64_t>(wanted);
    }
    const uint64_t begin = cursor_.position();
    skip_elements(value.type, value.count, 1, wanted);
    value.bytes = cursor_.since(begin);
    return value;
  }

  GgufType read_type(const std::string& wanted) {
    const uint32_t number = cursor_.number<uint32_t>(wanted);
    if (number > static_cast<uint32_t>(GgufType::kF64)) {
      fail("{}: {} has type number {}, wanted 0 to {}: corrupt file", path_, wanted, number,
           static_cast<uint32_t>(GgufType::kF64));
    }
    return static_cast<GgufType>(number);
  }

  void skip_elements(GgufType type, uint64_t count, int depth, const std::string& wanted) {
    if (const uint64_t size = static_cast<uint64_t>(bytes_of(type)); size > 0) {
      cursor_.skip(count_of("elements in " + wanted, size, count) * size, wanted);
      return;
    }
    if (type == GgufType::kString) {
      count_of("strings in " + wanted, sizeof(uint64_t), count);
      for (uint64_t i = 0; i < count; ++i) cursor_.text(wanted);
      return;
    }
    if (depth > kMaxNesting) fail("{}: {} nests arrays deeper than {}", path_, wanted, kMaxNesting);
    for (uint64_t i = 0; i < count; ++i) {
      const GgufType inner = read_type(wanted);
      skip_elements(inner, cursor_.number<uint64_t>(wanted), depth + 1, wanted);
    }
  }

  void sort_metadata() {
    std::ranges::sort(contents_.metadata, {}, &GgufValue::key);
    const auto twin = std::ranges::adjacent_find(contents_.metadata, {}, &GgufValue::key);
    if (twin != contents_.metadata.end())
      fail("{}: metadata {} appears twice: corrupt file", path_, quoted_name(twin->key));
  }

  void read_alignment() {
    const GgufValue* value = find_value(contents_.metadata, "general.alignment");
    if (value == nullptr) return;
    const std::optional<double> number = as_number(*value);
    if (value->type == GgufType::kU32 && number) alignment_ = static_cast<uint32_t>(*number);
    if (value->type != GgufType::kU32 || !number || !std::has_single_bit(alignment_)) {
      fail("{}: general.alignment should be a power of two as one u32, found {}{}", path_,
           number ? fmt::format("{} as ", *number) : "", value->is_array ? "an array" : name_of(value->type));
    }
  }

  GgufTensor read_tensor() {
    GgufTensor tensor;
    TensorInfo& info = tensor.info;
    info.name = cursor_.name("a tensor's name");
    const std::string wanted = "tensor " + quoted_name(info.name);
    read_shape(info, wanted);
    const uint32_t type = cursor_.number<uint32_t>(wanted);
    tensor.format = find_gguf_block_format(type);
    if (tensor.format == nullptr) {
      std::vector<std::string_view> readable;
      for (const GgufBlockFormat& format : gguf_block_formats()) readable.push_back(format.name);
      fail("{}: {} is stored as {}, which this program cannot read; it reads {}", path_, wanted, gguf_type_name(type),
           fmt::join(readable, " "));
    }
    info.storage = tensor.format->name;
    if (info.columns() % tensor.format->values != 0) {
      fail("{}: {} has {} columns, not a multiple of the {} values in a {} block: corrupt file", path_, wanted,
           info.columns(), tensor.format->values, info.storage);
    }
    uint64_t elements = 1;
    for (const int64_t size : info.shape) elements = product(elements, static_cast<uint64_t>(size), wanted);
    info.bytes = product(elements / static_cast<uint64_t>(tensor.format->values),
                         static_cast<uint64_t>(tensor.format->bytes), wanted);
    tensor.offset = cursor_.number<uint64_t>(wanted);
    if (tensor.offset % alignment_ != 0) {
      fail("{}: {} begins at offset {}, not a multiple of the alignment {}: corrupt file", path_, wanted, tensor.offset,
           alignment_);
    }
    return tensor;
  }

  void read_shape(TensorInfo& info, const std::string& wanted) {
    const uint32_t dimensions = cursor_.number<uint32_t>(wanted);
    if (dimensions == 0 || dimensions > kMaxDimensions) {
      fail("{}: {} has {} dimensions, wanted 1 to {}: corrupt file", path_, wanted, dimensions, kMaxDimensions);
    }
    info.shape.resize(dimensions);
    for (uint32_t i = 0; i < dimensions; ++i) {
      const uint64_t size = cursor_.number<uint64_t>(wanted);
      if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail("{}: {} has {} as its size in dimension {}: corrupt file", path_, wanted, size, i);
      }
      info.shape[dimensions - 1 - i] = static_cast<int64_t>(size);  // the file has the fastest first
    }
  }

  uint64_t product(uint64_t a, uint64_t b, const std::string& wanted) const {
    uint64_t result = 0;
    if (__builtin_mul_overflow(a, b, &result)) {
      fail("{}: the size of {} does not fit 64 bits: corrupt file", path_, wanted);
    }
    return result;
  }

  // Turns offsets into the data section into offsets into the file.
  void place_tensors() {
    const uint64_t size = bytes_.size(), padding = (alignment_ - cursor_.position() % alignment_) % alignment_;
    contents_.data_begin = std::min(size, cursor_.position() + padding);
    for (GgufTensor& tensor : contents_.tensors) {
      uint64_t begin = 0, end = 0;
      const bool overflow = __builtin_add_overflow(cursor_.position() + padding, tensor.offset, &begin) ||
                            __builtin_add_overflow(begin, tensor.info.bytes, &end);
      if (overflow || end > size) {
        fail("{}: tensor {} needs {} bytes from byte {} but the file ends at {}: truncated download?", path_,
             quoted_name(tensor.info.name), tensor.info.bytes, begin, size);
      }
      tensor.offset = begin;
    }
  }

  void check_names() const {
    std::vector<std::string_view> names;
    for (const GgufTensor& tensor : contents_.tensors) names.push_back(tensor.info.name);
    std::ranges::sort(names);
    const auto twin = std::ranges::adjacent_find(names);
    if (twin != names.end()) fail("{}: tensor {} appears twice: corrupt file", path_, quoted_name(*twin));
  }

  void check_overlaps() const {
    std::vector<const GgufTensor*> order;
    for (const GgufTensor& tensor : contents_.tensors) order.push_back(&tensor);
    std::ranges::sort(order, {}, &GgufTensor::offset);
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor &before = *order[i - 1], &after = *order[i];
      if (before.offset + before.info.bytes <= after.offset) continue;
      fail("{}: tensors {} and {} overlap at byte {}: corrupt file", path_, quoted_name(before.info.name),
           quoted_name(after.info.name), after.offset);
    }
  }

  Cursor cursor_;
  const std::string& path_;
  std::span<const uint8_t> bytes_;
  uint32_t alignment_ = kDefaultAlignment;
  GgufContents contents_;
};

}  // namespace

GgufContents parse_gguf(std::span<const uint8_t> bytes, const std::string& path) { return Parser(bytes, path).parse(); }

}  // namespace kvpareto
