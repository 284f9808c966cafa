#include "awq/quantize_model.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "awq/journal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "checkpoint/formats/hf_config.h"
#include "checkpoint/formats/hf_writer.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kReport = "quantization_report.json";
constexpr const char* kSixteenBits = "BF16";

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string shard_name(int number, int count) { return fmt::format("model-{:05}-of-{:05}.safetensors", number, count); }

std::string format_text(const WeightFormat& format) { return to_text(WeightChoice{.stored = false, .format = format}); }

json to_json(const PartReport& part) {
  json row = {{"format", format_text(part.format)}};
  if (part.before > 0) {
    row["error_before"] = part.before;
    row["error_after"] = part.after;
    row["exponent"] = part.exponent;
    row["clipped"] = part.clipped;
  }
  return row;
}

PartReport part_from_json(const json& row) {
  PartReport part;
  part.format = parse_weights(row.at("format").get<std::string>()).linears.format;
  part.before = row.value("error_before", 0.0);
  part.after = row.value("error_after", 0.0);
  part.exponent = row.value("exponent", 0.0);
  part.clipped = row.value("clipped", false);
  return part;
}

class ModelQuantizer {
 public:
  ModelQuantizer(const Checkpoint& file, Backend& backend, const QuantizeJob& job, const QuantizeWatcher& watch)
      : file_(file),
        backend_(backend),
        job_(job),
        watch_(watch),
        shape_(read_shape(file)),
        scheme_(job.scheme),
        partial_(job.folder + ".partial") {
    if (exists(job.folder)) fail("{}: exists already; remove it, or write elsewhere with -o", job.folder);
    check_source();
    check_scheme();
    const std::vector<std::string> planned = plan_weights(file, shape_, scheme_).notes;
    notes_.insert(notes_.end(), planned.begin(), planned.end());
    report_.notes = notes_;
  }

  QuantizeReport run() {
    Journal journal(partial_, description());
    if (!journal.why_restarted().empty()) {
      report_.notes.push_back(fmt::format("{}: {}: begun again", partial_, journal.why_restarted()));
    }
    const bool calibrates = job_.options.method != Method::kNearest;
    std::optional<CalibrationRun> states;
    if (calibrates) states.emplace(file_, backend_, shape_, job_.calibration);
    std::vector<float> none = {0};
    const std::span<float> kept = calibrates ? states->states() : std::span<float>(none);
    report_.resumed = journal.layers();
    if (journal.layers() > 0) journal.restore(kept);
    for (const json& entry : journal.reports()) take_report(entry.at("report"));
    for (int layer = journal.layers(); layer < shape_.layers; ++layer) {
      tell(layer);
      const auto start = Clock::now();
      LayerMatrices matrices = read_layer(file_, shape_, layer);
      const QuantizedLayer quantized = quantize_layer(std::move(matrices), calibrates ? &*states : nullptr, layer,
                                                      scheme_, shape_, backend_, job_.options);
      const std::string shard = shard_name(layer + 1, shape_.layers + 1);
      const json row = write_layer(quantized, layer, shard);
      take_report(row);
      report_.layers.back().seconds = std::chrono::duration<double>(Clock::now() - start).count();
      journal.finish_layer(shard, kept, row);
    }
    tell(shape_.layers);
    finish(journal);
    return report_;
  }

 private:
  void tell(int layer) const {
    const bool last = layer == shape_.layers;
    if (watch_) watch_(static_cast<double>(layer) / shape_.layers, last ? "writing" : fmt::format("layer {}", layer));
  }

  void check_source() const {
    for (const TensorInfo& info : file_.tensors()) {
      if (info.storage.starts_with("w")) {
        fail("{}: its weights are quantized already ({} is {}); quantize the 16-bit model", file_.path(), info.name,
             info.storage);
      }
    }
  }

  // An AWQ folder has one group size.
  void check_scheme() {
    scheme_.awq = false;
    if (job_.layout != Layout::kAwq) return;
    if (!is_uniform_int4(scheme_)) {
      fail_usage(
          "weights {}: an AWQ folder holds 4 bits in one group size everywhere; other weights need this program's own "
          "layout",
          to_text(scheme_));
    }
    WeightFormat& format = scheme_.linears.format;
    for (const int columns : {shape_.hidden, shape_.heads * shape_.head_dim, shape_.feed_forward}) {
      const WeightFormat fitting = fitting_format(format, columns);
      if (fitting.group < format.group) {
        notes_.push_back(fmt::format("groups of {} do not divide {} columns: groups of {} everywhere", format.group,
                                     columns, fitting.group));
      }
      format = fitting;
    }
  }

  // What makes one result differ from another.
  json description() const {
    const QuantizeOptions& options = job_.options;
    json text = {{"recipe", kQuantizeRecipe},
                 {"model", fingerprint(file_.fingerprint())},
                 {"weights", to_text(scheme_)},
                 {"layout", job_.layout == Layout::kAwq ? "awq" : "plain"},
                 {"method", options.method == Method::kAwq ? "awq" : "rtn"}};
    if (options.method == Method::kNearest) return text;
    text["calibration"] = {{"origin", job_.calibration.origin}, {"hash", fingerprint(job_.calibration.hash())}};
    text["scale"] = options.scale;
    text["compensate"] = options.compensate;
    text["correct"] = options.correct;
    text["clip"] = options.clip;
    text["passes"] = options.passes;
    text["damping"] = options.damping;
    text["instructions"] = backend_.name();
    return text;
  }

  json write_layer(const QuantizedLayer& layer, int number, const std::string& shard) const {
    const std::string block = fmt::format("blk.{}.", number);
    std::vector<SafetensorsSource> tensors;
    const auto vector = [&](const std::string& name, const std::vector<float>& values) {
      if (values.empty()) return;
      tensors.push_back(
          float_tensor(hf_tensor_name(block + name), {static_cast<int64_t>(values.size())}, "F32", values));
    };
    vector("attn_norm.weight", layer.matrices.attention_norm);
    vector("ffn_norm.weight", layer.matrices.feed_forward_norm);
    vector("attn_q_norm.weight", layer.matrices.query_norm);
    vector("attn_k_norm.weight", layer.matrices.key_norm);
    json row = {{"layer", number}, {"linears", json::object()}};
    uint64_t bytes = 0;
    for (size_t i = 0; i < kParts; ++i) {
      const std::string part = block + std::string(kPartInfos[i].name);
      const std::string weight = hf_tensor_name(part + ".weight"), stem = weight.substr(0, weight.rfind('.'));
      const Matrix& matrix = layer.matrices.parts[i];
      vector(std::string(kPartInfos[i].name) + ".bias", matrix.bias);
      json told = to_json(layer.reports[i]);
      std::vector<SafetensorsSource> written;
      if (layer.rounded[i]) {
        written = packed_tensors(stem, *layer.rounded[i], job_.layout);
        told["crc32"] = checksum(*layer.rounded[i]);
      } else {
        written = {float_tensor(weight, {matrix.rows(), matrix.columns}, kSixteenBits, matrix.weights)};
      }
      for (SafetensorsSource& tensor : written) {
        bytes += tensor.tensor.bytes;
        tensors.push_back(std::move(tensor));
      }
      row["linears"][stem] = std::move(told);
    }
    row["weight_bytes"] = bytes;
    write_safetensors(partial_ + "/" + shard, tensors, {{"format", "pt"}});
    return row;
  }

  void take_report(const json& row) {
    LayerReport layer;
    const std::string block = fmt::format("blk.{}.", report_.layers.size());
    for (size_t i = 0; i < kParts; ++i) {
      const std::string weight = hf_tensor_name(block + std::string(kPartInfos[i].name) + ".weight");
      layer.parts[i] = part_from_json(row.at("linears").at(weight.substr(0, weight.rfind('.'))));
    }
    report_.weight_bytes += row.at("weight_bytes").get<uint64_t>();
    report_.layers.push_back(layer);
  }

  // Embedding, head and final norm as they are, a few rows at a time.
  void write_tables() {
    std::vector<SafetensorsSource> tensors;
    for (const char* name : {"token_embd.weight", "output.weight"}) {
      const TensorInfo* info = file_.find(name);
      if (info == nullptr) continue;
      const std::string type = info->storage == "F16" ? "F16" : kSixteenBits;
      const uint64_t bytes = 2 * static_cast<uint64_t>(info->rows() * info->columns());
      tensors.push_back({{hf_tensor_name(name), type, info->shape, 0, bytes}, [this, info, type](const auto& put) {
                           constexpr int64_t kRowsAtOnce = 256;
                           std::vector<float> rows;
                           for (int64_t r = 0; r < info->rows(); r += kRowsAtOnce) {
                             const int64_t count = std::min(kRowsAtOnce, info->rows() - r);
                             rows.resize(static_cast<size_t>(count * info->columns()));
                             file_.read(*info, r, count, rows.data());
                             put(float_bytes(rows, type));
                           }
                           file_.release(*info);
                         }});
    }
    const std::vector<float> norm = read_tensor(file_, shape_, "output_norm.weight");
    tensors.push_back(
        float_tensor(hf_tensor_name("output_norm.weight"), {static_cast<int64_t>(norm.size())}, "F32", norm));
    write_safetensors(partial_ + "/" + shard_name(shape_.layers + 1, shape_.layers + 1), tensors, {{"format", "pt"}});
  }

  void write_index() const {
    json map = json::object();
    uint64_t total = 0;
    for (int number = 1; number <= shape_.layers + 1; ++number) {
      const std::string shard = shard_name(number, shape_.layers + 1);
      const MappedFile bytes(partial_ + "/" + shard);
      for (const SafetensorsTensor& tensor : parse_safetensors(bytes.bytes(), bytes.path()).tensors) {
        map[tensor.name] = shard;
        total += tensor.bytes;
      }
    }
    write_file(partial_ + "/model.safetensors.index.json",
               json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1) + "\n");
  }

  json quantization_config(const Journal& journal) const {
    if (job_.layout == Layout::kAwq) {
      return {{"quant_method", "awq"}, {"bits", 4},         {"group_size", scheme_.linears.format.group},
              {"zero_point", true},    {"version", "gemm"}, {"modules_to_not_convert", nullptr}};
    }
    json formats = json::object();
    for (const json& entry : journal.reports()) {
      for (const auto& [name, part] : entry.at("report").at("linears").items()) formats[name] = part.at("format");
    }
    return {{"quant_method", "kvpareto"}, {"version", 1}, {"weights", to_text(scheme_)}, {"formats", formats}};
  }

  void finish(const Journal& journal) {
    write_tables();
    write_index();
    json config = hf_config_of(file_, job_.layout == Layout::kAwq ? "float16" : "bfloat16");
    config["quantization_config"] = quantization_config(journal);
    write_file(partial_ + "/config.json", config.dump(2) + "\n");
    write_hf_tokenizer(file_, partial_);
    json layers = json::array();
    for (const json& entry : journal.reports()) layers.push_back(entry.at("report"));
    write_file(partial_ + "/" + kReport, json{{"job", description()},
                                              {"source", fs::path(file_.path()).filename().string()},
                                              {"notes", notes_},
                                              {"layers", layers}}
                                                 .dump(1) +
                                             "\n");
    std::error_code problem;
    fs::rename(partial_, job_.folder, problem);
    if (problem) fail("{}: cannot be renamed to {}: {}", partial_, job_.folder, problem.message());
    remove_journal(job_.folder);
  }

  const Checkpoint& file_;
  Backend& backend_;
  const QuantizeJob& job_;
  const QuantizeWatcher& watch_;
  ModelShape shape_;
  WeightScheme scheme_;
  std::string partial_;
  std::vector<std::string> notes_;  // of the scheme on this model
  QuantizeReport report_;
};

}  // namespace

bool is_uniform_int4(const WeightScheme& scheme) {
  return scheme.changes.empty() && !scheme.linears.stored && scheme.linears.format.codec == WeightCodec::kInt4;
}

void check_job(const Checkpoint& checkpoint, Backend& backend, const QuantizeJob& job) {
  const QuantizeWatcher nobody;
  ModelQuantizer(checkpoint, backend, job, nobody);
}

QuantizeReport quantize_model(const Checkpoint& checkpoint, Backend& backend, const QuantizeJob& job,
                              const QuantizeWatcher& watch) {
  return ModelQuantizer(checkpoint, backend, job, watch).run();
}

}  // namespace kvpareto
