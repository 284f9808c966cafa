#include "checkpoint/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace kvpareto {
namespace {

using nlohmann::json;

constexpr uint64_t kPrefix = 8;                   // bytes of the header's length
constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr size_t kMostDimensions = 8;

struct ElementType {
  std::string_view name;
  int bytes;
};
constexpr ElementType kTypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                  {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                                  {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};

class Parser {
 public:
  Parser(std::span<const uint8_t> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  SafetensorsContents parse() {
    const std::string_view header = read_header();
    const json entries = parse_json(header, path_ + ": header", 4);
    if (!entries.is_object()) fail("{}: the header is no JSON object: corrupt file", path_);
    for (const auto& [name, entry] : entries.items()) {
      if (name != "__metadata__") contents_.tensors.push_back(read_tensor(name, entry));
    }
    std::ranges::sort(contents_.tensors, {}, [](const SafetensorsTensor& t) { return std::pair(t.offset, t.bytes); });
    check_cover();
    return std::move(contents_);
  }

 private:
  std::string_view read_header() {
    if (bytes_.size() < kPrefix) fail("{}: {} bytes, too short for a safetensors file", path_, bytes_.size());
    uint64_t size = 0;
    std::memcpy(&size, bytes_.data(), sizeof size);
    if (size > kLargestHeader) {
      fail("{}: claims a header of {} bytes, the format allows {}: corrupt file", path_, size, kLargestHeader);
    }
    if (size > bytes_.size() - kPrefix) {
      fail("{}: the header needs {} bytes but the file ends at {}: truncated download?", path_, size, bytes_.size());
    }
    contents_.data_begin = kPrefix + size;
    return {reinterpret_cast<const char*>(bytes_.data()) + kPrefix, size};
  }

  SafetensorsTensor read_tensor(const std::string& name, const json& entry) {
    const std::string wanted = "tensor " + quoted_name(name);
    SafetensorsTensor tensor;
    tensor.name = name;
    const auto member = [&](const char* key, bool right) -> const json& {
      if (!entry.is_object() || !entry.contains(key)) fail("{}: {} has no {}: corrupt file", path_, wanted, key);
      if (!right) fail("{}: {} has a wrong {}: corrupt file", path_, wanted, key);
      return entry[key];
    };
    const auto is = [&](const char* key, auto test) {
      return entry.is_object() && entry.contains(key) && test(entry[key]);
    };
    tensor.type = member("dtype", is("dtype", [](const json& j) { return j.is_string(); })).get<std::string>();
    const int element = bytes_of_safetensors_type(tensor.type);
    if (element == 0)
      fail("{}: {} has the type {}, which safetensors does not know", path_, wanted, quoted_name(tensor.type));

    uint64_t bytes = static_cast<uint64_t>(element);
    const json& shape =
        member("shape", is("shape", [](const json& j) { return j.is_array() && j.size() <= kMostDimensions; }));
    for (const json& size : shape) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() == 0 ||
          __builtin_mul_overflow(bytes, size.get<uint64_t>(), &bytes) ||
          size.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail("{}: {} has a shape with {}, or of more than 64 bits: corrupt file", path_, wanted,
             quoted_name(size.dump()));
      }
      tensor.shape.push_back(size.get<int64_t>());
    }
    if (tensor.shape.empty()) tensor.shape = {1};

    const json& offsets =
        member("data_offsets", is("data_offsets", [](const json& j) {
                 return j.is_array() && j.size() == 2 && j[0].is_number_unsigned() && j[1].is_number_unsigned();
               }));
    const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    const uint64_t room = bytes_.size() - contents_.data_begin;
    if (begin > end || end - begin != bytes) {
      fail("{}: {} of type {} and shape [{}] needs {} bytes, its offsets are {} to {}: corrupt file", path_, wanted,
           tensor.type, fmt::join(tensor.shape, ", "), bytes, begin, end);
    }
    if (end > room) {
      fail("{}: {} ends at byte {} of the data but the file has {}: truncated download?", path_, wanted, end, room);
    }
    tensor.offset = contents_.data_begin + begin;
    tensor.bytes = bytes;
    return tensor;
  }

  // The format demands that the data has neither overlaps nor gaps.
  void check_cover() const {
    uint64_t end = contents_.data_begin;
    std::string before = "the header";
    for (const SafetensorsTensor& tensor : contents_.tensors) {
      if (tensor.offset != end) {
        fail("{}: tensor {} should begin at byte {}, where {} ends, but begins at {}: corrupt file", path_,
             quoted_name(tensor.name), end, before, tensor.offset);
      }
      end += tensor.bytes;
      before = "tensor " + quoted_name(tensor.name);
    }
    if (end != bytes_.size()) fail("{}: {} bytes behind the last tensor: corrupt file", path_, bytes_.size() - end);
  }

  std::span<const uint8_t> bytes_;
  const std::string& path_;
  SafetensorsContents contents_;
};

}  // namespace

bool is_safetensors(std::span<const uint8_t> bytes) { return bytes.size() > kPrefix && bytes[kPrefix] == '{'; }

int bytes_of_safetensors_type(std::string_view type) {
  const auto found = std::ranges::find(kTypes, type, &ElementType::name);
  return found != std::end(kTypes) ? found->bytes : 0;
}

SafetensorsContents parse_safetensors(std::span<const uint8_t> bytes, const std::string& path) {
  return Parser(bytes, path).parse();
}

void write_safetensors(const std::string& path, std::span<const SafetensorsSource> sources,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsSource& source : sources) {
    const SafetensorsTensor& tensor = source.tensor;
    header[tensor.name] = {
        {"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that tensors are aligned, as the format's own writer does
  const uint64_t size = text.size();

  FileWriter file(path);
  file.write({reinterpret_cast<const char*>(&size), sizeof size});
  file.write(text);
  for (const SafetensorsSource& source : sources) {
    uint64_t written = 0;
    source.write([&](std::span<const uint8_t> piece) {
      written += piece.size();
      file.write({reinterpret_cast<const char*>(piece.data()), piece.size()});
    });
    if (written != source.tensor.bytes) {
      fail("{}: tensor {} has {} bytes, {} were to be written", path, source.tensor.name, written, source.tensor.bytes);
    }
  }
  file.finish();
}

}  // namespace kvpareto
