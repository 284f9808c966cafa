#include "report/page.h"

#include <fmt/format.h>

#include "report/charts.h"
#include "report/style.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

std::string section(const Chart& chart, const Drawing& drawing) {
  return fmt::format("<section id=\"{}\"><h2>{}</h2><p class=\"lead\">{}</p><figure>{}</figure>{}</section>\n",
                     chart.name, chart.title, drawing.lead, drawing.figure,
                     drawing.note.empty() ? "" : "<p class=\"note\">" + drawing.note + "</p>");
}

}  // namespace

std::string html_report(const ReportInput& input) {
  const Findings findings = read_study(input);
  const std::string model = findings.model().empty() ? "empty study" : findings.model();
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n";
  page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  page += fmt::format("<title>KV-cache frontier of {}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
                      escape_html(model), kStyle);
  page += headline(findings);
  for (const Chart& chart : charts()) {
    const Drawing drawing = chart.draw(findings);
    if (!drawing.figure.empty()) page += section(chart, drawing);
  }
  page += point_table(findings);
  page += method(findings);
  page += fmt::format("<footer>kvpareto {}</footer>\n</main>\n<script>{}</script>\n</body>\n</html>\n",
                      KVPARETO_VERSION, kScript);
  return page;
}

}  // namespace kvpareto
