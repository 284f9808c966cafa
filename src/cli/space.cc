// What a search may choose from on a model, before anything is measured.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/search_space.h"
#include "cli/shared_options.h"

namespace kvpareto {
namespace {

constexpr size_t kWidth = 76;  // of the choices of an axis in a line

class SpaceCommand : public Command {
 public:
  About about() const override {
    return {
        "space",
        "what a search chooses from",
        "Prints the axes of a search space on a model, the choices of each, how many points that makes, what the "
        "model cannot hold and why, and the least and most memory at a context; nothing is loaded or measured. Without "
        "a model, the list of spaces. A file of your own (TOML) has lists named keys and values (sides of schemes), or "
        "schemes, and if wanted windows, weights, chunks, and per_layer = true. Instead of weights, whole schemes, it "
        "may have linears and embedding, whose bits are chosen per model, kind or layer (linears_per).",
        {"space", "space -m model.gguf --space full", "space -m model.gguf --space mine.toml --mem-budget 1GiB"}};
  }

  void declare(Options& options) override {
    model_.declare(options);
    options.text("--space", "NAME|FILE.toml", space_.name, "the space");
    options.integer("-c,--ctx-size", context_, kContexts,
                    "tokens that memory is predicted for [4096, or what the model was trained for if that is less]");
    options.parsed("--mem-budget", "SIZE", "leave out points that take more: 2GiB, 900MiB",
                   [this](const std::string& text) { space_.most_bytes = parse_bytes("--mem-budget", text); });
    model_.declare_machine(options);
  }

  void run() override {
    if (model_.path.empty()) {
      std::vector<std::vector<std::string>> rows = {{"space", "what it holds"}};
      for (const SpacePreset& preset : space_presets()) rows.push_back({preset.name, preset.description});
      print_result(markdown(rows));
      return;
    }
    const auto checkpoint = model_.open();
    const ModelShape shape = read_shape(*checkpoint);
    const auto backend = model_.make();
    if (context_ == 0) context_ = std::min(kDefaultContext, shape.context);
    check_context(context_, shape, model_.path);
    const ModelSpace made = make_space(space_, *checkpoint, *backend, context_);
    print_result(description(made, shape));
  }

 private:
  std::string description(const ModelSpace& made, const ModelShape& shape) const {
    const Space& space = made.space;
    std::vector<std::vector<std::string>> rows = {{"axis", "choices", ""}};
    std::set<std::string> parts;
    for (const Axis& axis : space.axes) {
      const auto same = [&](const Axis& other) { return other.part == axis.part; };
      const auto alike = std::count_if(space.axes.begin(), space.axes.end(), same);
      if (!parts.insert(axis.part).second) continue;
      const std::string name = alike > 1 ? fmt::format("{}, and {} more", axis.name, alike - 1) : axis.name;
      rows.push_back({name, std::to_string(axis.choices.size()), shortened(axis)});
    }
    std::string text =
        fmt::format("{} on {} ({} layers, heads of {}): {} axes, {} points\n\n{}", space_.name, model_.path,
                    shape.layers, shape.head_dim, space.axes.size(), count(space), markdown(rows));
    if (!made.left_out.empty()) text += "\nLeft out:\n";
    for (const std::string& reason : made.left_out) text += "  " + reason + "\n";
    return text + "\n" + memory(space);
  }

  static std::string shortened(const Axis& axis) {
    std::string line;
    for (size_t i = 0; i < axis.choices.size(); ++i) {
      const std::string name = axis.choices[i].empty() ? "none" : axis.choices[i];
      if (line.size() + name.size() > kWidth) return line + fmt::format(" and {} more", axis.choices.size() - i);
      line += (i > 0 ? " " : "") + name;
    }
    return line;
  }

  // "266", "10^36".
  static std::string count(const Space& space) {
    const double digits = log10_size(space);
    return digits < 6 ? std::to_string(countable_size(space)) : fmt::format("10^{:.1f}", digits);
  }

  // Of the ends of every axis, which is where the extremes are; and what was found not to be valid there.
  std::string memory(const Space& space) const {
    double least = 0, most = 0;
    std::string reason;
    Choices choices(space.axes.size(), 0);
    const auto look = [&] {
      const Made made = space.make(choices);
      if (!made.valid()) {
        reason = to_text(made.point) + ": " + made.reason;
        return;
      }
      const double bytes = space.bytes(made.point);
      least = least == 0 ? bytes : std::min(least, bytes);
      most = std::max(most, bytes);
    };
    for (size_t choice = 0;; ++choice) {
      bool more = false;
      for (size_t axis = 0; axis < choices.size(); ++axis) {
        const size_t last = space.axes[axis].choices.size() - 1;
        choices[axis] = static_cast<int>(space.axes[axis].refined_last ? 0 : std::min(choice, last));
        more = more || (!space.axes[axis].refined_last && choice < last);
      }
      look();
      if (!more) break;
    }
    std::string text = most > 0 ? fmt::format("Memory at {} tokens: about {} to {}.\n", context_, human_bytes(least),
                                              human_bytes(most))
                                : "";
    if (!reason.empty()) text += "Not valid, for example: " + reason + "\n";
    return text;
  }

  ModelOptions model_;
  SpaceOptions space_;
  int context_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_space_command() { return std::make_unique<SpaceCommand>(); }

}  // namespace kvpareto
