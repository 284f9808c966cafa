// The report of a study that was made before.

#include "cli/command.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "cli/study_reading.h"

namespace kvpareto {
namespace {

class ReportCommand : public Command {
 public:
  About about() const override {
    return {"report",
            "one HTML page and tables from a study",
            "Writes the report of a study: one self-contained HTML page (frontier, heat map, memory against context, "
            "table, how everything was measured) with the same as CSV and JSON beside it. Needs the study alone, not "
            "the model, so that it can be made on another machine.",
            {"report", "report --study other.db -o other.html", "report --max-loss 0.02"}};
  }

  void declare(Options& options) override {
    options.text("--study", "FILE", study_, "the study to read");
    options.text("-o,--output", "FILE.html", page_, "the page to write");
    options.text("--model-name", "NAME", model_,
                 "of the models in it, the one whose file name has this in it [the last]");
    options.number("--max-loss", max_loss_, 0, 100, "divergence in nats/token above which a configuration is broken");
  }

  void run() override {
    const Study study = open_existing_study(study_);
    const std::vector<Measurement> measurements = latest_regime(study, model_);
    print_result(write_report(page_, report_input(study, measurements, max_loss_)) + "\n");
  }

 private:
  std::string study_ = kDefaultStudy, page_ = "kvpareto-report.html", model_;
  double max_loss_ = kDefaultMaxLoss;
};

}  // namespace

std::unique_ptr<Command> make_report() { return std::make_unique<ReportCommand>(); }

}  // namespace kvpareto
