// The frontier of a study, as a table.

#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"
#include "search/verification.h"

namespace kvpareto {
namespace {

class FrontCommand : public Command {
 public:
  About about() const override {
    return {"front",
            "the frontier of a study as a table",
            "Prints the configurations of a study that no other beats in both memory and divergence, cheapest first; "
            "with --all everything that was measured. Needs the study alone, not the model.",
            {"front", "front --study other.db --all -o csv > points.csv", "front -o json | jq '.[].kld_mean'"}};
  }

  void declare(Options& options) override {
    options.text("--study", "FILE", study_, "the study to read");
    options.text("--model-name", "NAME", model_,
                 "of the models in it, the one whose file name has this in it [the last]");
    options.flag("--all", all_, "everything measured, not the frontier alone");
    options.choice("-o,--output", format_, {"md", "csv", "json", "jsonl"}, "format of the result");
  }

  void run() override {
    const Study study = open_existing_study(study_);
    std::vector<Measurement> measurements = verified(latest_regime(study, model_), kDefaultMaxLoss);
    Front front = find_front(measurements);
    if (format_ == "md") {
      print_result(all_ ? people_table(measurements, true) : front_table(measurements, front));
      return;
    }
    if (!all_) {
      std::vector<Measurement> members;
      for (const size_t i : front.members) members.push_back(measurements[i]);
      measurements = members;
      front = find_front(measurements);
    }
    print_result(table(measurements, front, format_));
  }

 private:
  std::string study_ = kDefaultStudy, model_, format_ = "md";
  bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_front() { return std::make_unique<FrontCommand>(); }

}  // namespace kvpareto
