// How the numbers were made, in plain words; what they do not say; what each of them is.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>

#include "base/text.h"
#include "report/findings.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"
#include "search/verification.h"
#include "study/measurement_json.h"

namespace kvpareto {
namespace {

std::string fact(const std::string& name, const std::string& value) {
  return value.empty() ? "" : fmt::format("<dt>{}</dt><dd>{}</dd>", escape_html(name), escape_html(value));
}

// Different values of a field over all points, in order, as "a; b".
template <typename Field>
std::string distinct(const Findings& findings, Field field) {
  std::set<std::string> values;
  for (const Measurement& m : findings.points) {
    if (!field(m).empty()) values.insert(field(m));
  }
  return fmt::format("{}", fmt::join(values, "; "));
}

std::string times(const Findings& findings) {
  std::set<std::string> times;
  double seconds = 0;
  for (const Measurement& m : findings.points) {
    if (!m.provenance.time.empty()) times.insert(m.provenance.time);
    if (std::isfinite(m.provenance.seconds)) seconds += std::max(0.0, m.provenance.seconds);
  }
  if (times.empty()) return {};
  std::string text = *times.begin();
  if (times.size() > 1) text += " to " + *times.rbegin();
  return seconds > 0 ? fmt::format("{}; {} of measuring", text, human_seconds(seconds)) : text;
}

std::string story(const Regime& regime) {
  const std::string texts = regime.texts == 1 ? "One text" : fmt::format("{} texts", regime.texts);
  std::string text = fmt::format(
      "{} ({}) {} read. Of each, {} tokens filled the cache in chunks (the prefill), and the {} tokens after them were "
      "scored in steps of {}: at every one, the model's distribution over the next token was compared with the one "
      "that {}.",
      texts, escape_html(regime.text_origin.empty() ? "of unknown origin" : regime.text_origin),
      regime.texts == 1 ? "was" : "were", regime.prefill, regime.scored, regime.step,
      regime.reference.empty() ? "the same engine gives with a 16-bit cache" : "another model gives at 16 bits");
  if (regime.order == "pack-then-attend") {
    text +=
        " Keys and values are packed first and read back packed, those of the tokens in flight too (pack-then-attend), "
        "so every "
        "score goes through the quantized cache; nothing was simulated.";
  } else {
    text += fmt::format(" The order was {}; numbers made in another order cannot be compared with these.",
                        escape_html(regime.order));
  }
  return "<p class=\"text\">" + text + "</p>";
}

std::string facts(const Findings& findings) {
  const Regime& regime = findings.points.front().regime;
  std::string list = fact("Model", regime.model) + fact("Fingerprint", regime.model_hash);
  list += fact("Context", fmt::format("{} tokens", regime.context));
  list += fact("Prefill, scored, step", fmt::format("{}, {}, {} tokens", regime.prefill, regime.scored, regime.step));
  list += fact("Texts", fmt::format("{}, {}", regime.texts, regime.text_origin));
  list += fact("Fingerprint of their tokens", regime.text_hash);
  if (!regime.reference.empty()) list += fact("Divergence from another model, fingerprint", regime.reference);
  const auto fitted = std::ranges::find_if(findings.points, [](const Measurement& m) { return is_fitted(m.point); });
  if (fitted != findings.points.end()) list += fact("AWQ weights fitted to", fitted->regime.calibration);
  list += fact("Order", regime.order) + fact("Seed", std::to_string(regime.seed));
  list += fact("Device", distinct(findings, [](const Measurement& m) { return m.provenance.device; }));
  list += fact("Program", distinct(findings, [](const Measurement& m) { return m.provenance.program; }));
  list += fact("Time", times(findings));
  return "<dl class=\"facts\">" + list + "</dl>";
}

std::string error_caveat(const Regime& regime) {
  if (regime.texts == 1) {
    return "There was one text. Errors, where shown, come from blocks of it and say nothing about other texts.";
  }
  if (regime.texts == 2) {
    return "There were only two texts. ± is the standard error of two numbers, a hint rather than a guarantee; "
           "differences smaller than a few of them mean nothing.";
  }
  return fmt::format(
      "± is the standard error of the mean over {} texts, and the lines in the charts are 95 % intervals by Student's "
      "t. They say how "
      "stable the number is over such texts, not over other kinds of text.",
      regime.texts);
}

std::string caveats(const Findings& findings) {
  const Regime& regime = findings.points.front().regime;
  std::vector<std::string> list;
  const std::string quantisation = quantisation_in_name(regime.model);
  if (!quantisation.empty() && regime.reference.empty()) {
    list.push_back(
        fmt::format("The file's name says {}: its weights were quantized before this program saw them. Widened to 16 "
                    "bits they are the reference here, so the "
                    "divergence counts what the cache loses, not what the file had lost already.",
                    escape_html(quantisation)));
  }
  list.push_back(error_caveat(regime));
  if (regime.text_origin.find("sampled") != std::string::npos) {
    list.push_back(
        "The texts were sampled from the model itself. It finds them more probable than other people's writing, so "
        "compare divergences "
        "within this report rather than with published ones.");
  }
  const bool is_verified = findings.recommended && findings.points[*findings.recommended].values.contains(kHeldOut);
  list.push_back(
      is_verified ? "The best of many looks a little better on the texts that chose it than it is. The recommended "
                    "configuration and its neighbours were measured again on held-out texts; those that did not hold "
                    "up have left the front and are listed with the reason."
                  : "The recommended configuration was chosen on the same texts that it is reported on; the best of "
                    "many looks a little better than it is.");
  if (findings.confidence.texts > 1) list.push_back(confidence_in_words(findings));
  list.push_back(
      fmt::format("Divergence ranks configurations much as tasks do, but it is no task score. The limit of {} "
                  "nats/token for “broken” is a convention; "
                  "settle close calls on your own task.",
                  trimmed(findings.max_loss, 2)));
  const size_t best = findings.recommended.value_or(0);
  const double process = findings.points[best].value("process_peak_bytes"), peak = findings.cost(best);
  if (std::isfinite(process) && std::isfinite(peak)) {
    list.push_back(
        fmt::format("Peak memory counts what the engine allocates. The whole process, with the mapped file and "
                    "libraries, reached {} where {} were allocated.",
                    human_bytes(process), human_bytes(peak)));
  }
  if (findings.left_out > 0) {
    list.push_back(
        fmt::format("{} measurements made under other circumstances were left out: they cannot be compared with these.",
                    findings.left_out));
  }
  std::string markup = "<h3>What to keep in mind</h3><ul class=\"caveats\">";
  for (const std::string& item : list) markup += "<li>" + item + "</li>";
  return markup + "</ul>";
}

std::string glossary(const Findings& findings) {
  std::string list;
  for (const Figure& figure : figures()) {
    const bool present = std::any_of(findings.points.begin(), findings.points.end(),
                                     [&](const Measurement& m) { return std::isfinite(m.value(figure.name)); });
    if (!present) continue;
    list += fmt::format("<div><dt>{} <span>{}</span></dt><dd>{}</dd></div>", escape_html(figure.label),
                        escape_html(figure.unit == "fraction" ? "%" : figure.unit), escape_html(figure.description));
  }
  return list.empty() ? "" : "<h3>What each figure is</h3><dl class=\"glossary\">" + list + "</dl>";
}

}  // namespace

std::string quantisation_in_name(const std::string& model) {
  static const std::regex kName("(^|[^A-Za-z0-9])(I?Q[1-8]_[A-Za-z0-9]+(_[SML])?|AWQ|GPTQ)([^A-Za-z0-9]|$)",
                                std::regex::icase | std::regex::optimize);
  std::smatch match;
  // A file name is short; what is longer is no name, and the standard library's matcher recurses with the length.
  const std::string name = model.size() > 255 ? model.substr(model.size() - 255) : model;
  if (!std::regex_search(name, match, kName)) return {};
  std::string found = match[2];
  std::transform(found.begin(), found.end(), found.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return found;
}

std::string method(const Findings& findings) {
  if (findings.points.empty()) return {};
  return "<section id=\"method\"><h2>How this was measured</h2>" + story(findings.points.front().regime) +
         facts(findings) + caveats(findings) + glossary(findings) + "</section>\n";
}

}  // namespace kvpareto
