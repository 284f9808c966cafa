// A model with weights of few bits, as a folder.

#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "awq/quantize_model.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "eval/calibration_texts.h"

namespace kvpareto {
namespace {

class Quantize : public Command {
 public:
  About about() const override {
    return {"quantize",
            "make a model with weights of few bits",
            "Quantizes the linear layers and writes a folder that loads like any other model. awq moves the scales of "
            "input channels to where rounding hurts least (AWQ), searches a clipping range for every group, and lets "
            "the columns of each matrix, and each layer, make up for the rounding of those before them, then goes over "
            "codes and scales again; rtn rounds to nearest and is the control. 4 bits everywhere give a Hugging Face "
            "AWQ folder that other programs load "
            "too; other weights this program's own layout. Works a layer at a time, and goes on where it was if it is "
            "started again.",
            {"quantize -m model.gguf -o model-awq", "quantize -m model --bits 3 --group 64 -o model-w3",
             "quantize -m model.gguf -w w4g128,down:w8g128,0:w8g64 -o model-mixed",
             "quantize -m model.gguf --method rtn -o model-rtn"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.text("-o,--output", "DIR", folder_, "the folder that is made; it must not exist");
    options.choice("--method", method_, {"awq", "rtn"}, "how codes are found");
    options.integer("--bits", bits_, {3, 8}, "bits of every linear: 8, 4 or 3");
    options.integer("--group", group_, {32, 128}, "values that share a scale: 128, 64 or 32");
    options.text("-w,--weights", "SCHEME", weights_,
                 "instead of --bits and --group: bits and group by layer and kind (qkv, o, gateup, down), such as "
                 "w4g128,down:w8g128,0-1:w8g64");
    options.choice(
        "--layout", layout_, {"auto", "awq", "plain"},
        "awq: as other programs read it, 4 bits alone; plain: this program's own; auto is awq where it can be");
    options.heading("Calibration of awq");
    model_.declare_calibration(options);
    options.integer("--sequences", size_.sequences, {1, 100000}, "sequences of calibration text");
    options.integer("--length", size_.tokens, {2, kMostContext}, "tokens of each");
    options.seed(size_.seed);
    options.heading("Parts of awq");
    options.flag("--no-scale", no_scale_, "leave the channels' scales alone");
    options.flag("--no-clip", no_clip_, "groups keep their whole range");
    options.flag("--no-correct", no_correct_, "do not make up for what rounding the layers before did");
    options.flag("--no-refine", no_refine_, "do not go over codes and scales again");
    options.flag("--no-compensate", no_compensate_,
                 "round every column for itself; with --no-correct, AWQ as it was published");
    model_.declare_machine(options);
  }

  void run() override {
    if (folder_.empty()) fail_usage("where to? -o DIR names the folder that is made");
    QuantizeJob job;
    job.scheme = scheme();
    job.folder = folder_;
    while (job.folder.size() > 1 && job.folder.ends_with('/')) job.folder.pop_back();
    job.options.method = method_ == "awq" ? Method::kAwq : Method::kNearest;
    job.options.scale = !no_scale_;
    job.options.clip = !no_clip_;
    job.options.compensate = !no_compensate_;
    if (no_correct_) job.options.correct = 0;
    if (no_refine_) job.options.passes = 0;
    const bool awq_layout = layout_ == "awq" || (layout_ == "auto" && is_uniform_int4(job.scheme));
    job.layout = awq_layout ? Layout::kAwq : Layout::kPlain;
    const auto checkpoint = model_.open();
    const auto backend = model_.make();
    check_job(*checkpoint, *backend, job);
    if (job.options.method == Method::kAwq) job.calibration = calibration(*checkpoint, *backend);
    const QuantizeReport report = quantize(*checkpoint, *backend, job);
    for (const std::string& line : report.notes) note("{}", line);
    print_result(table(report));
    note("{} holds {} of linears in {}", job.folder, human_bytes(static_cast<double>(report.weight_bytes)),
         awq_layout ? "AWQ's layout" : "this program's own layout");
  }

 private:
  WeightScheme scheme() const {
    if (!weights_.empty()) return parse_weights(weights_);
    return parse_weights(fmt::format("w{}g{}", bits_, group_));
  }

  Calibration calibration(const Checkpoint& checkpoint, Backend& backend) const {
    const Tokenizer tokenizer = load_tokenizer(checkpoint);
    const char* data = std::getenv("KVPARETO_DATA");
    const CalibrationTexts texts(model_.calibration, data == nullptr ? "" : data, tokenizer, size_);
    note("calibration: {}", texts.origin());
    Progress progress("sampling text", 100, "%");
    return texts.make([&] { return load_model(checkpoint, backend); },
                      [&](double fraction) { progress.update(100 * fraction); });
  }

  static QuantizeReport quantize(const Checkpoint& checkpoint, Backend& backend, const QuantizeJob& job) {
    const int layers = read_shape(checkpoint).layers;
    Progress progress("quantizing", layers, "layers");
    bool resumed = false;
    return quantize_model(checkpoint, backend, job, [&](double fraction, const std::string& what) {
      const double done = fraction * layers;
      if (!resumed) progress.skip(done);
      resumed = true;
      progress.update(done, what);
    });
  }

  // Output errors by layer and kind, relative to the outputs, before and after.
  static std::string table(const QuantizeReport& report) {
    const bool measured = report.layers.front().parts.front().before > 0;
    if (!measured) return fmt::format("rounded {} layers to nearest\n", report.layers.size());
    std::vector<std::vector<std::string>> rows = {{"layer", "qkv", "o", "gateup", "down", "to nearest", "written"}};
    for (size_t l = 0; l < report.layers.size(); ++l) {
      std::vector<std::string> row = {std::to_string(l)};
      double before = 0, after = 0;
      for (const std::string_view kind : kLinearKinds) {
        double kind_before = 0, kind_after = 0;
        for (size_t i = 0; i < kParts; ++i) {
          if (kLinearKinds[static_cast<size_t>(kPartInfos[i].kind)] != kind) continue;
          kind_before += report.layers[l].parts[i].before;
          kind_after += report.layers[l].parts[i].after;
        }
        row.push_back(kind_before > 0 ? fmt::format("{:.2f}", kind_after / kind_before) : "-");
        before += kind_before;
        after += kind_after;
      }
      row.push_back(fmt::format("{:.2e}", before / kParts));
      row.push_back(fmt::format("{:.2e}", after / kParts));
      rows.push_back(std::move(row));
    }
    return markdown(rows) +
           "\nqkv o gateup down: output error on the calibration text, of what rounding to nearest gives (1.00).\n"
           "to nearest, written: mean over the layer's linears, relative to their outputs (squared).\n";
  }

  ModelOptions model_;
  std::string folder_, method_ = "awq", weights_, layout_ = "auto";
  int bits_ = 4, group_ = 128;
  CalibrationSize size_;
  bool no_scale_ = false, no_clip_ = false, no_compensate_ = false, no_correct_ = false, no_refine_ = false;
};

}  // namespace

std::unique_ptr<Command> make_quantize() { return std::make_unique<Quantize>(); }

}  // namespace kvpareto
