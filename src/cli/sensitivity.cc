// Which layers bear few bits: one side of one layer packed, all the rest at 16 bits.

#include "search/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/probe_sides.h"
#include "cli/shared_options.h"
#include "cli/weight_probes.h"
#include "eval/evaluator.h"
#include "eval/reference_store.h"
#include "report/format.h"

namespace kvpareto {
namespace {

constexpr int kProbeContext = 2048, kMostScored = 512;
// Of all weights, that the suggested scheme may take beyond one format everywhere.
constexpr double kMoreBytes = 0.05;

class SensitivityCommand : public Command {
 public:
  About about() const override {
    return {"sensitivity",
            "what each layer loses when its keys, values or weights alone have few bits",
            "Measures, layer by layer and for keys and values (or kinds of linears) apart, the divergence when that "
            "side of "
            "that layer alone has few bits and all the rest has 16; says which layers cost more than the rest, and the "
            "scheme that gives "
            "them more bits. Every point is kept in the study, where the report finds it; what is there already is not "
            "measured again.",
            {"sensitivity -m model.gguf", "sensitivity -m model.gguf --weights w4g128",
             "sensitivity -m model.gguf --k k4t32.pre,k2t32.pre --v none --layers 0-3,27",
             "sensitivity -m model.gguf --texts 4 --prefill 3584 --scored 512 -o csv"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.list("--k", "LIST", k_, "how keys are tried, as in an override of a scheme: k4t32.pre,k2; or none [k4,k2]");
    options.list("--v", "LIST", v_, "how values are tried; or none [v4,v2]");
    options.list("--weights", "LIST", weights_,
                 "try the weights of each kind of linear instead: w4g128,w3g128; --k and --v are then tried if given");
    options.parsed("--layers", "LIST", "layers to try: 0-3,27 [all]",
                   [this](const std::string& text) { parse_layers(text); });
    options.integer("-ub,--ubatch-size", chunk_, kChunks, "tokens of one prefill step");
    options.choice("-o,--output", format_, {"md", "csv", "json", "jsonl"}, "format of the result");
    options.text("--study", "FILE", study_, "where measurements are kept");
    model_.declare_calibration(options);
    options.heading("Divergence");
    options.integer("--prefill", prefill_, {1, kMostContext},
                    "tokens before the scored ones [1536, or what the model's context leaves]");
    options.integer(
        "--scored", scored_, {1, kMostContext},
        "tokens scored in each text [512, or a quarter of the model's context; of --tokens all that follow]");
    options.integer("--step", step_, kChunks, "tokens of one teacher-forced step");
    texts_.declare(options);
    options.text("--tokens", "FILE", texts_.token_file, "measure on exactly these ids: a JSON array of arrays");
    model_.declare_machine(options);
  }

  void run() override {
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    set_sides(shape);
    for (const std::string& text : weights_) {
      formats_.push_back(parse_probe_format(text));
      plan_weights(*checkpoint, shape, probe_weights(formats_.back(), LinearKind::kQkv, 0));
    }
    if (layers_.empty()) {
      for (int layer = 0; layer < shape.layers; ++layer) layers_.push_back(layer);
    }
    if (layers_.back() >= shape.layers) {
      fail_usage("--layers: layer {} is beyond the model's last, {}", layers_.back(), shape.layers - 1);
    }
    const EvalOptions options = eval_options(shape);
    Study study(study_);
    try {
      const LoadedModel loaded = load(model_);
      Evaluator evaluator(*loaded.models, loaded.tokenizer,
                          texts_.obtain(loaded, options.prefill + options.scored + 1, &study), options);
      print(measure(evaluator, study), loaded);
    } catch (const Error& error) {
      if (error.exit() != Exit::kInterrupted) throw;
      throw Error(
          Exit::kInterrupted,
          fmt::format("interrupted; what was measured is kept in {}, and the same command goes on from there", study_));
    }
  }

 private:
  void parse_layers(const std::string& text) {
    constexpr Range kLayers = {0, kMostLayers - 1};
    for (const std::string& part : parse_list("--layers", text)) {
      const size_t dash = part.find('-', 1);
      const auto first = static_cast<int>(parse_integer("--layers", part.substr(0, dash), kLayers));
      const auto last = dash == std::string::npos
                            ? first
                            : static_cast<int>(parse_integer("--layers", part.substr(dash + 1), {first, kLayers.high}));
      for (int layer = first; layer <= last; ++layer) layers_.push_back(layer);
    }
    std::sort(layers_.begin(), layers_.end());
    layers_.erase(std::unique(layers_.begin(), layers_.end()), layers_.end());
  }

  void set_sides(const ModelShape& shape) {
    const std::string group = shape.head_dim % kDefaultGroup == 0 ? "" : "g32";
    if (k_.empty())
      k_ = weights_.empty() ? std::vector<std::string>{"k4" + group, "k2" + group} : std::vector<std::string>{"none"};
    if (v_.empty())
      v_ = weights_.empty() ? std::vector<std::string>{"v4" + group, "v2" + group} : std::vector<std::string>{"none"};
    const auto add = [&](const std::string& option, char letter, const std::vector<std::string>& texts) {
      if (texts == std::vector<std::string>{"none"}) return;
      for (const std::string& text : texts) {
        sides_.push_back(parse_probe_side(option, letter, text));
        const std::string problem =
            why_invalid(probe_scheme(sides_.back(), 0), shape.layers, shape.head_dim, shape.qkv_bias);
        if (!problem.empty()) fail_usage("{} {}: {}", option, text, problem);
      }
    };
    add("--k", 'k', k_);
    add("--v", 'v', v_);
    if (sides_.empty() && weights_.empty()) fail_usage("--k none and --v none leave nothing to measure");
  }

  EvalOptions eval_options(const ModelShape& shape) const {
    EvalOptions options;
    options.reference_folder = default_reference_folder();
    const int context = std::min(kProbeContext, shape.context);
    options.scored = scored_ > 0 || !texts_.token_file.empty() ? scored_ : std::min(kMostScored, context / 4);
    options.prefill = prefill_ > 0 ? prefill_ : std::max(1, context - options.scored);
    options.step = step_;
    options.seed = texts_.seed;
    check_context(int64_t{options.prefill} + options.scored, shape, model_.path);
    return options;
  }

  // Whole columns of the table first, so that an interrupted run already compares layers.
  std::vector<Point> points() const {
    std::vector<Point> points;
    for (const ProbeSide& side : sides_) {
      for (const int layer : layers_) points.push_back({"w16", to_text(probe_scheme(side, layer)), chunk_});
    }
    for (const WeightFormat& format : formats_) {
      for (const LinearKind kind : {LinearKind::kQkv, LinearKind::kOutput, LinearKind::kGateUp, LinearKind::kDown}) {
        for (const int layer : layers_)
          points.push_back({to_text(probe_weights(format, kind, layer)), "k16v16", chunk_});
      }
    }
    return points;
  }

  std::vector<Measurement> measure(Evaluator& evaluator, Study& study) const {
    std::vector<Measurement> measured;
    std::vector<Point> missing;
    for (const Point& point : points()) {
      if (const auto known = study.find(point, evaluator.regime())) {
        measured.push_back(*known);
      } else {
        missing.push_back(point);
      }
    }
    const auto known = static_cast<double>(measured.size());
    Progress progress("sensitivity", known + static_cast<double>(missing.size()), "points");
    progress.skip(known);
    for (const Point& point : missing) {
      measured.push_back(evaluator.measure(point, [&](double fraction, const std::string& what) {
        progress.update(static_cast<double>(measured.size()) + fraction, fmt::format("{} {}", name_of(point), what));
      }));
      study.record(measured.back());
      progress.update(static_cast<double>(measured.size()), name_of(point));
    }
    return measured;
  }

  // What of it is probed.
  static const std::string& name_of(const Point& point) { return point.weights == "w16" ? point.kv : point.weights; }

  void print(const std::vector<Measurement>& measured, const LoadedModel& loaded) const {
    for (const Measurement& m : measured) {
      if (m.state == State::kFailed) note("{} could not be measured: {}", to_text(m.point), m.reason);
    }
    const Sensitivity cache = sensitivity_of(measured), weights = sensitivity_of(measured, Probed::kWeights);
    if (cache.layers.empty() && weights.layers.empty()) fail("nothing could be measured: {}", measured.front().reason);
    std::vector<nlohmann::ordered_json> all;
    std::string text, conclusion;
    for (const auto& [table, probed] : {std::pair{&cache, Probed::kCache}, {&weights, Probed::kWeights}}) {
      if (table->layers.empty()) continue;
      const std::vector<nlohmann::ordered_json> some = rows(*table, probed);
      all.insert(all.end(), some.begin(), some.end());
      const std::string found = probed == Probed::kCache ? conclude(*table) : conclude_weights(*table, loaded);
      conclusion += found;
      const Regime& regime = table->regime;
      text += fmt::format(
          "{}Divergence in nats/token +- standard error, that side of that layer in few bits and all else 16 "
          "bits ({} texts, prefill {}, {} scored):\n\n{}\n{}",
          text.empty() ? "" : "\n", regime.texts, regime.prefill, regime.scored, markdown(cells(*table)), found);
    }
    print_result(format_ == "md" ? text : rows_text(all, format_));
    if (format_ == "md") return;
    for (const std::string& line : split(conclusion.substr(0, conclusion.size() - 1), '\n')) note("{}", line);
  }

  static std::vector<std::vector<std::string>> cells(const Sensitivity& table) {
    std::vector<std::vector<std::string>> cells = {{"layer"}};
    for (const std::string& side : table.sides) cells.front().push_back(side_name(side) + "  ");
    for (const Sensitivity::Layer& row : table.layers) {
      cells.push_back({std::to_string(row.layer)});
      for (size_t side = 0; side < table.sides.size(); ++side) {
        const bool known = std::isfinite(row.loss[side].value);
        cells.back().push_back(known ? with_error(row.loss[side]) + (table.stands_out(row, side) ? " <" : "  ")
                                     : "-  ");
      }
    }
    cells.push_back({"median"});
    for (const double median : table.medians) cells.back().push_back(significant(median, 2) + "  ");
    return cells;
  }

  static std::vector<nlohmann::ordered_json> rows(const Sensitivity& table, Probed probed) {
    std::vector<nlohmann::ordered_json> rows;
    const auto number = [](double value) { return std::isfinite(value) ? nlohmann::ordered_json(value) : nullptr; };
    for (const Sensitivity::Layer& row : table.layers) {
      for (size_t side = 0; side < table.sides.size(); ++side) {
        nlohmann::ordered_json json;
        json["model_filename"] = table.regime.model;
        json["n_prompt"] = table.regime.prefill;
        json["n_ubatch"] = table.chunk;
        json["layer"] = row.layer;
        const bool cache = probed == Probed::kCache;
        json["side"] = table.sides[side].substr(0, cache ? 1 : table.sides[side].find(':'));
        json["scheme"] = table.sides[side];
        json["weights"] = cache ? "w16" : fmt::format("w16,{}.{}", row.layer, table.sides[side]);
        json["kv"] = cache ? fmt::format("k16v16,{}:{}", row.layer, table.sides[side]) : "k16v16";
        json["kld_mean"] = number(row.loss[side].value);
        json["kld_mean_se"] = number(row.loss[side].standard_error);
        json["times_median"] = number(table.times_median(row, side));
        json["stands_out"] = table.stands_out(row, side);
        rows.push_back(json);
      }
    }
    return rows;
  }

  // Who costs more than the rest, and a scheme that gives those more bits.
  std::string conclude(const Sensitivity& table) const {
    const std::string who = who_stands_out(table);
    const std::string rest = fmt::format("{:g} times the median of its column", kStandsOut);
    std::string text = who.empty() ? fmt::format("No layer stands out: none costs more than {}.\n", rest)
                                   : fmt::format("More than {} (<): {}.\n", rest, who);
    const KvScheme first = suggested_scheme(table, 0), second = suggested_scheme(table, 1);
    text += fmt::format("Suggested: --kv {}", to_text(first));
    if (!(second == first)) text += fmt::format(", or with fewer bits --kv {}", to_text(second));
    return text + fmt::format("  (for eval and run; 'kvpareto report --study {}' draws the layers)\n", study_);
  }

  // The same of weights: where 8 bits are worth most.
  std::string conclude_weights(const Sensitivity& table, const LoadedModel& loaded) const {
    const std::string who = who_stands_out(table);
    const std::string rest = fmt::format("{:g} times the median of its column", kStandsOut);
    std::string text = who.empty() ? fmt::format("No layer stands out: none costs more than {}.\n", rest)
                                   : fmt::format("More than {} (<): {}.\n", rest, who);
    for (const WeightFormat& format : formats_) {
      const WeightScheme scheme =
          suggested_weights(table, format, *loaded.checkpoint, loaded.models->shape(), *loaded.backend, kMoreBytes);
      text += fmt::format(
          "Suggested for {:.0f} % more bytes than {} everywhere (add .awq behind the first {} for less loss): -w {}\n",
          100 * kMoreBytes, to_text(WeightChoice{.stored = false, .format = format}),
          to_text(WeightChoice{.stored = false, .format = format}), to_text(scheme));
    }
    return text;
  }

  ModelOptions model_;
  TextOptions texts_;
  std::vector<std::string> k_, v_, weights_;
  std::vector<WeightFormat> formats_;
  std::vector<ProbeSide> sides_;
  std::vector<int> layers_;  // ascending
  int prefill_ = 0, scored_ = 0, step_ = 128, chunk_ = 256;
  std::string study_ = kDefaultStudy, format_ = "md";
};

}  // namespace

std::unique_ptr<Command> make_sensitivity() { return std::make_unique<SensitivityCommand>(); }

}  // namespace kvpareto
