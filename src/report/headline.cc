// The top of the page: the answer in one sentence, the numbers behind it, and the command that makes use of it.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace kvpareto {
namespace {

// As one word of a POSIX shell.
std::string quoted_for_shell(const std::string& text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-' || c == '/' || c == '+';
  };
  if (!text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string emphasis(const std::string& text) { return "<em class=\"nb\">" + escape_html(text) + "</em>"; }

std::string divergence_with_error(const Estimate& estimate) {
  const std::string text = with_error(estimate);
  const size_t sign = text.find(" ± ");
  if (sign == std::string::npos) return text;
  return text.substr(0, sign) + "<span class=\"pm\">" + text.substr(sign) + "</span>";
}

std::string loss_in_words(const Measurement& m) {
  return fmt::format("<span class=\"nb\">{}</span> nats/token", divergence_with_error(m.values.at("kld_mean")));
}

std::string no_answer(const Findings& findings) {
  if (findings.points.empty() && !findings.model().empty()) {
    return "Only single layers were measured yet, and no whole configuration.";
  }
  if (findings.points.empty()) return "This study has no measurements yet.";
  if (findings.count_complete() == 0) {
    const size_t count = findings.points.size();
    if (count == 1) return "The one configuration measured failed.";
    return fmt::format("None of the {} configurations could be measured.", count);
  }
  return fmt::format("<span class=\"bad\">No measured configuration</span> stays below {} nats/token of divergence.",
                     trimmed(findings.max_loss, 2));
}

// The one sentence of the page.
std::string answer(const Findings& findings) {
  if (!findings.recommended) return no_answer(findings);
  const size_t best = *findings.recommended;
  const Measurement& m = findings.points[best];
  const bool exact_weights = m.point.weights == Point().weights;
  const std::string name = emphasis((exact_weights ? "" : clipped(m.point.weights, kLongestWeights) + " ") +
                                    clipped(m.point.kv, kLongestScheme));
  if (!findings.baseline) {
    return fmt::format("{} peaks at {} and diverges by {}.", name, human_bytes(findings.cost(best)), loss_in_words(m));
  }
  if (best == *findings.baseline) {
    return fmt::format(
        "{}, the 16-bit cache itself, is the choice: what was measured saves too little for what it loses.", name);
  }
  const double saved = findings.cost(*findings.baseline) - findings.cost(best);
  const std::string change = percent_change(findings.cost(best), findings.cost(*findings.baseline));
  return fmt::format(
      "{} needs <span class=\"nb\">{} {}</span> <span class=\"nb\">({})</span> than {}, at a divergence of {}.", name,
      human_bytes(std::abs(saved)), saved >= 0 ? "less" : "more", change,
      exact_weights ? "the 16-bit cache" : "16 bits in all", loss_in_words(m));
}

// What the sentence leaves open: chunk, and what was compared.
std::string below_answer(const Findings& findings) {
  if (!findings.recommended) return {};
  const Measurement& best = findings.points[*findings.recommended];
  const bool knee = *findings.recommended == findings.front.knee;
  std::string text =
      knee ? "It is the knee of the front: beyond it, memory is saved at a steeper price in divergence."
           : fmt::format("The knee of the front is broken; this is the smallest configuration below {} nats/token.",
                         trimmed(findings.max_loss, 2));
  text += fmt::format(" Total peak memory at a context of {} tokens, prefill chunk {}", best.regime.context,
                      best.point.chunk);
  if (findings.baseline && findings.points[*findings.baseline].point.chunk != best.point.chunk) {
    text += fmt::format(" (baseline: chunk {})", findings.points[*findings.baseline].point.chunk);
  }
  return text + ".";
}

std::string tile(const std::string& name, const std::string& value, const std::string& unit, const std::string& than) {
  return fmt::format("<div><dt>{}</dt><dd class=\"big\">{}{}</dd><dd class=\"than\">{}</dd></div>", name, value,
                     unit.empty() ? "" : " <small>" + unit + "</small>", than);
}

// "1.2 MiB" as value and unit.
std::string bytes_tile(const Findings& findings, const char* figure, const char* name) {
  const double value = findings.points[*findings.recommended].value(figure);
  if (!std::isfinite(value)) return {};
  const std::string text = human_bytes(value);
  const size_t space = text.find(' ');
  std::string than;
  if (findings.baseline && findings.baseline != findings.recommended) {
    const double whole = findings.points[*findings.baseline].value(figure);
    if (std::isfinite(whole)) than = fmt::format("{} against {}", percent_change(value, whole), human_bytes(whole));
  }
  return tile(name, text.substr(0, space), text.substr(space + 1), than);
}

std::string speed_tile(const Findings& findings, const char* figure, const char* name) {
  const double value = findings.points[*findings.recommended].value(figure);
  if (!std::isfinite(value)) return {};
  std::string than;
  if (findings.baseline && findings.baseline != findings.recommended) {
    const double whole = findings.points[*findings.baseline].value(figure);
    if (std::isfinite(whole)) than = fmt::format("{} against {}", percent_change(value, whole), significant(whole, 3));
  }
  return tile(name, significant(value, 3), "tokens/s", than);
}

std::string tiles(const Findings& findings) {
  if (!findings.recommended) return {};
  const Measurement& m = findings.points[*findings.recommended];
  const Estimate& loss = m.values.at("kld_mean");
  const auto interval = error_bar(loss);
  std::string than = "no error known";
  if (loss.standard_error == 0) than = "exact";
  if (interval) {
    than = fmt::format("{} to {}, {}", significant(std::max(0.0, interval->low), 2), significant(interval->high, 2),
                       error_bar_name(loss));
  }
  std::string list = bytes_tile(findings, "peak_bytes", "Peak memory") + bytes_tile(findings, "kv_bytes", "KV cache") +
                     tile("Divergence", significant(loss.value, 2), "nats/token", than);
  const double same = m.value("same_top");
  if (std::isfinite(same)) {
    list += tile("Same top token", significant(100 * same, 3), "%", "as the 16-bit cache would choose");
  }
  const char* speed = std::isfinite(m.value("decode_ts")) ? "decode_ts" : "prefill_ts";
  list += speed_tile(findings, speed, speed == std::string("decode_ts") ? "Decode speed" : "Prefill speed");
  return "<dl class=\"numbers\">" + list + "</dl>";
}

// For readers with another limit in mind than the knee's: the smallest configuration below each of a few.
std::string choices(const Findings& findings) {
  if (!findings.recommended || !findings.baseline) return {};
  const double whole = findings.cost(*findings.baseline);
  std::string rows;
  std::optional<size_t> previous;
  for (const double limit : {0.001, 0.01, findings.max_loss}) {
    if (limit > findings.max_loss) continue;
    const auto& members = findings.front.members;  // cheapest first
    const auto found =
        std::find_if(members.begin(), members.end(), [&](size_t i) { return findings.loss(i) <= limit; });
    if (found == members.end() || findings.cost(*found) >= whole || *found == previous) continue;
    previous = *found;
    const Measurement& m = findings.points[*found];
    rows += fmt::format("<tr{}><td>below {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                        previous == findings.recommended ? " class=\"best\"" : "", trimmed(limit, 3),
                        escape_html(findings.label(*found)), human_bytes(findings.cost(*found)),
                        percent_change(findings.cost(*found), whole), divergence_with_error(m.values.at("kld_mean")));
  }
  if (rows.empty()) return {};
  return "<table class=\"choices\"><caption>The smallest configuration for a given loss, in "
         "nats/token</caption><tbody>" +
         rows + "</tbody></table>";
}

std::string command(const Findings& findings) {
  if (!findings.recommended) return {};
  const Measurement& m = findings.points[*findings.recommended];
  return fmt::format(
      "<p class=\"command-name\">Run it</p><div class=\"command\"><pre><code>{}</code></pre><button type=\"button\" "
      "class=\"script\" data-copy=\"\">copy</button></div>",
      escape_html(run_command(m, m.regime.model)));
}

}  // namespace

std::string run_command(const Measurement& measurement, const std::string& model) {
  const Point& point = measurement.point;
  std::string weights = point.weights == "w16" ? "" : " -w " + quoted_for_shell(point.weights);
  const std::string& calibration = measurement.provenance.calibration_file;
  if (!calibration.empty()) weights += " --calibration " + quoted_for_shell(calibration);
  return fmt::format("kvpareto run -m {} -c {}{} --kv {} -ub {} -p \"Once upon a time\"", quoted_for_shell(model),
                     measurement.regime.context, weights, quoted_for_shell(point.kv), point.chunk);
}

std::string headline(const Findings& findings) {
  std::string eyebrow = "<b>KV-cache frontier</b>";
  if (!findings.points.empty()) {
    const Regime& regime = findings.points.front().regime;
    eyebrow += fmt::format(" · {} · context {} · {} configurations", escape_html(regime.model), regime.context,
                           findings.points.size());
  }
  if (findings.points.empty() && !findings.model().empty()) eyebrow += " · " + escape_html(findings.model());
  const std::string below = below_answer(findings);
  return fmt::format("<header><p class=\"eyebrow\">{}</p><h1>{}</h1>{}{}{}{}</header>\n", eyebrow, answer(findings),
                     below.empty() ? "" : "<p class=\"sub\">" + below + "</p>", tiles(findings), command(findings),
                     choices(findings));
}

}  // namespace kvpareto
